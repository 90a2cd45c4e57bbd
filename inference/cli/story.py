"""A row of the registry: a model and its guide by name, and how to try them.

The rows themselves are in `inference.cli.catalogue`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias

from ppl_models.errors import InputError, unknown

if TYPE_CHECKING:
    from torch import Tensor, nn

    Pair = tuple[nn.Module, nn.Module]

Data: TypeAlias = "dict[str, Tensor]"
Settings: TypeAlias = "Mapping[str, Any]"


@dataclass(frozen=True)
class Story:
    """One model, its guide, and how to try them.

    Parameters
    ----------
    path
        The model's class within `ppl_models`, as ``module:Class``. Its guide is the class
        ``ClassGuide`` in the module of the same name within `guides`.
    family
        The heading under which documentation lists it.
    source
        Where the model comes from: numbers of the project's seeds, or ``"-"``.
    sentence
        What the model is, in one plain sentence.
    settings
        From data, the sizes that the classes need to know (``{"data_dim": 2}``).
    simulate
        From a model (another than the one to fit) and a number of data: data, drawn from it or from
        the generating process it is meant for, by the names of the model's arguments.
    adapt
        Initialise a new pair from the data before it is fitted.
    parts
        From settings, modules that model and guide are given when they are built.
    title
        Its name, where it is not that of the model's class.
    """

    path: str
    family: str
    source: str
    sentence: str
    settings: Callable[[Data], dict[str, Any]]
    simulate: Callable[[Any, int], Data]
    adapt: Callable[[Any, Data], object] = lambda pair, data: None
    parts: Callable[[Settings], dict[str, Any]] = lambda settings: {}
    title: str = ""

    @property
    def model(self) -> str:
        """The model's class, as ``module:Class``."""
        return f"ppl_models.{self.path}"

    @property
    def guide(self) -> str:
        """The guide's class, as ``module:Class``."""
        return f"guides.{self.path}Guide"

    @property
    def model_name(self) -> str:
        """The name of the model's class."""
        return self.path.partition(":")[2]

    @property
    def name(self) -> str:
        """The name to call it by: by default, that of the model's class."""
        return self.title or self.model_name

    @property
    def guide_name(self) -> str:
        """The name of the guide's class."""
        return f"{self.model_name}Guide"

    def pair(self, data: Data, settings: Settings | None = None, seed: int = 0) -> Pair:
        """Build model and guide, of the data's sizes, with the user's ``settings`` on top.

        Raises
        ------
        InputError
            A setting that neither of the two classes has, or that has no meaning for them.
        """
        from inference.randomness import seeded

        model_class, guide_class = load(self.model), load(self.guide)
        taken = _arguments(model_class) | _arguments(guide_class)
        known = {name for name, kind in taken.items() if "Module" not in kind and name != "model"}
        for name in settings or {}:
            if name not in known:
                raise unknown("setting", name, known)
        chosen = {**self.settings(data), **(settings or {})}
        with seeded(seed):
            chosen |= self.parts(chosen)
            model = _build(model_class, chosen)
            guide = _build(guide_class, chosen | {"model": model})
        self.adapt((model, guide), data)
        return model, guide

    def example(
        self, seed: int = 0, size: int = 64, settings: Settings | None = None
    ) -> tuple[nn.Module, nn.Module, Data]:
        """Return a new pair, and ``size`` simulated data."""
        from inference.randomness import derive, seeded

        with seeded(derive(seed, "example")):
            chosen = dict(settings or {})
            truth = _build(load(self.model), chosen | self.parts(chosen))
            data = self.simulate(truth, size)
        data = {name: value.detach() for name, value in data.items()}
        return *self.pair(data, settings, seed), data

    @property
    def arguments(self) -> dict[str, bool]:
        """The model's arguments that take data, and whether a file of data must have them."""
        parameters = inspect.signature(load(self.model).forward).parameters.values()
        tensors = [p for p in parameters if "Tensor" in str(p.annotation)]
        if self.takes_any:
            return {p.name: False for p in tensors if p.kind is p.KEYWORD_ONLY}
        return {p.name: p is tensors[0] or p.default is p.empty for p in tensors}

    @property
    def takes_any(self) -> bool:
        """Whether data may have any names: those of modalities, which are the model's settings."""
        parameters = inspect.signature(load(self.model).forward).parameters.values()
        return any(p.kind is p.VAR_KEYWORD for p in parameters)

    @property
    def first_argument(self) -> str:
        """The name of the argument that takes the observed data."""
        return next(iter(self.arguments))


def load(path: str) -> Any:
    """Import ``module:Class``."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def _arguments(kind: type) -> dict[str, str]:
    """What a class takes, and its bases where it hands ``**options`` on: name and type."""
    found: dict[str, str] = {}
    for base in kind.__mro__:
        parameters = inspect.signature(base.__init__).parameters.values()  # type: ignore[misc]
        named = (p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
        found |= {p.name: str(p.annotation) for p in named if p.name != "self"}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found


def _build(kind: type, settings: Settings) -> Any:
    """Make one of the two with those settings that it has."""
    mine = {name: value for name, value in settings.items() if name in _arguments(kind)}
    try:
        return kind(**mine)
    except InputError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        expected = f"values that {kind.__name__} takes"
        cure = f"see help({kind.__module__}.{kind.__name__})"
        raise InputError("settings", f"{mine} ({error})", expected, cure) from error
