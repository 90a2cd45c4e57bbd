"""The stories that the command line knows by name.

One entry a story, in the order in which to read them. Model and guide are named, not imported, so
that a list of them takes no time; any other pair works with the engine without being listed here.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ppl_models.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

    Data = dict[str, Tensor]
    Pair = tuple[nn.Module, nn.Module]
    Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Story:
    """One story, its guide, and how to try them.

    Parameters
    ----------
    model, guide
        The two classes, as ``module:Class``.
    source
        Where the story comes from: numbers of the project's seeds.
    sentence
        What it tells, in one sentence.
    settings
        From data, what the classes need to know of them (``{"data_dim": 2}``).
    simulate
        From a story (another than the one to fit) and a number of data: data, drawn from it or from
        the generating process it is meant for, by the names of the story's arguments.
    adapt
        Let a new pair take a look at the data before it is fitted.
    parts
        From settings, modules that model and guide are handed when they are built.
    title
        Its name, where it is not that of the model's class.
    """

    model: str
    guide: str
    source: str
    sentence: str
    settings: Callable[[Data], dict[str, Any]]
    simulate: Callable[[Any, int], Data]
    adapt: Callable[[Any, Data], object] = lambda pair, data: None
    parts: Callable[[Settings], dict[str, Any]] = lambda settings: {}
    title: str = ""

    @property
    def name(self) -> str:
        """The name to call it by: by default, that of the model's class."""
        return self.title or self.model.partition(":")[2]

    @property
    def guide_name(self) -> str:
        """The name of the guide's class."""
        return self.guide.partition(":")[2]

    def pair(self, data: Data, settings: Settings | None = None, seed: int = 0) -> Pair:
        """Build model and guide, of the data's sizes, with the user's ``settings`` on top.

        Raises
        ------
        InputError
            A setting that neither of the two classes has, or that has no meaning for them.
        """
        from inference.randomness import seeded

        model_class, guide_class = _load(self.model), _load(self.guide)
        taken = _arguments(model_class) | _arguments(guide_class)
        known = {name for name, kind in taken.items() if "Module" not in kind and name != "story"}
        for name in settings or {}:
            if name not in known:
                raise unknown("setting", name, known)
        chosen = {**self.settings(data), **(settings or {})}
        with seeded(seed):
            chosen |= self.parts(chosen)
            model = _build(model_class, chosen)
            guide = _build(guide_class, chosen | {"story": model})
        self.adapt((model, guide), data)
        return model, guide

    def example(
        self, seed: int = 0, size: int = 64, settings: Settings | None = None
    ) -> tuple[nn.Module, nn.Module, Data]:
        """Return a new pair, and ``size`` simulated data."""
        from inference.randomness import derive, seeded

        with seeded(derive(seed, "example")):
            chosen = dict(settings or {})
            truth = _build(_load(self.model), chosen | self.parts(chosen))
            data = self.simulate(truth, size)
        data = {name: value.detach() for name, value in data.items()}
        return *self.pair(data, settings, seed), data

    @property
    def arguments(self) -> dict[str, bool]:
        """The story's arguments that take data, and whether a file of data must have them."""
        parameters = inspect.signature(_load(self.model).forward).parameters.values()
        tensors = [p for p in parameters if "Tensor" in str(p.annotation)]
        if self.takes_any:
            return {p.name: False for p in tensors if p.kind is p.KEYWORD_ONLY}
        return {p.name: p is tensors[0] or p.default is p.empty for p in tensors}

    @property
    def takes_any(self) -> bool:
        """Whether data may have any names: those of modalities, which settle what is told."""
        parameters = inspect.signature(_load(self.model).forward).parameters.values()
        return any(p.kind is p.VAR_KEYWORD for p in parameters)

    @property
    def first_argument(self) -> str:
        """The name of the argument that takes the observed data."""
        return next(iter(self.arguments))


def _load(path: str) -> Any:
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


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """Return the error for a name that is none of the ``known``, with the nearest of these."""
    names = sorted(known)
    folded = {known_name.lower(): known_name for known_name in names}
    near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
    cure = f"did you mean {folded[near[0]]}?" if near else "take one of these"
    return InputError(what, repr(name), "one of " + ", ".join(names), cure)


def find(name: str) -> Story:
    """Return the story of that name, in capitals or not.

    Raises
    ------
    InputError
        No story has it; the nearest name is suggested.
    """
    for story in STORIES:
        if story.name.lower() == name.lower():
            return story
    raise unknown("story", name, (story.name for story in STORIES))


def _later(how: str) -> Callable[..., dict[str, Any]]:
    """Return a function of `inference.tasks.examples`, imported when it is first called."""
    return lambda *given: _load(f"inference.tasks.examples:{how}")(*given)


def _of_vectors(file: str, name: str, sentence: str, source: str = "004", **more: Any) -> Story:
    """Return the entry of a story of vectors ``x`` (N, D), which its class simulates."""
    return Story(
        f"ppl_models.{file}:{name}",
        f"guides.{file}:{name}Guide",
        source,
        sentence,
        settings=lambda data: {"data_dim": data["x"].shape[-1]},
        simulate=lambda story, size: {"x": story(num_data=size)},
        **more,
    )


def _of_senses(file: str, name: str, rest: str) -> Story:
    """Return the entry of a story of several modalities, which its class simulates."""
    return Story(
        f"ppl_models.{file}:{name}",
        f"guides.{file}:{name}Guide",
        "004",
        f"Several senses of one thing, {rest}",
        settings=_later("widths"),
        simulate=_later("senses"),
    )


STORIES = (
    _of_vectors("vae", "VAE", "A datum is what a network makes of a few standard normal numbers."),
    _of_vectors(
        "vae",
        "VAE",
        "A datum is told as by VAE, from a code like those of K learned data.",
        parts=_later("pseudo_data"),
        adapt=lambda pair, data: pair[0].prior.start_from(data["x"]),
        title="VampPrior",
    ),
    Story(
        "ppl_models.cvae:CVAE",
        "guides.cvae:CVAEGuide",
        "003/004",
        "A datum is what a network makes of a few normal numbers and of a condition.",
        settings=lambda data: {
            "data_dim": data["x"].shape[-1],
            "condition_dim": data["c"].shape[-1],
        },
        simulate=_later("conditioned"),
    ),
    _of_vectors(
        "hierarchy",
        "HierarchicalVAE",
        "A datum is told from codes on several levels, each from those above it.",
    ),
    Story(
        "ppl_models.text:TextVAE",
        "guides.text:TextVAEGuide",
        "004",
        "A sentence is told token by token, from those before it and one code for all of it.",
        settings=lambda data: {"num_tokens": int(data["x"].max()) + 1},
        simulate=lambda story, size: {"x": story(num_data=size)},
    ),
    _of_vectors(
        "linear", "PPCA", "A datum is a matrix times a few standard normal numbers, and noise."
    ),
    _of_vectors(
        "ica",
        "ICA",
        "A datum is a mixture of as many independent sources as it has numbers.",
        adapt=lambda pair, data: pair[0].start_from(data["x"]),
    ),
    _of_vectors("made", "MADE", "A datum is told number by number, each from those before it."),
    _of_vectors(
        "rbm",
        "RBM",
        "A datum and hidden bits pull at each other, and low energies are common.",
        adapt=lambda pair, data: pair[0].start_from(data["x"]),
    ),
    _of_vectors(
        "mixture",
        "GaussianMixture",
        "A datum comes from one of K Gaussians, and nobody says which.",
        source="000/001",
        adapt=lambda pair, data: pair[1].start_from(data["x"]),
    ),
    Story(
        "ppl_models.dvae:SRNN",
        "guides.dvae:SRNNGuide",
        "000/001",
        "A path is told frame by frame, each from its own past and from a latent path.",
        settings=lambda data: {"data_dim": data["s"].shape[-1]},
        simulate=_later("paths"),
    ),
    Story(
        "ppl_models.dvae:DeepAR",
        "guides.dvae:DeepARGuide",
        "000/001",
        "A path is told frame by frame from its own past alone.",
        settings=lambda data: {"data_dim": data["s"].shape[-1]},
        simulate=_later("paths"),
    ),
    Story(
        "ppl_models.mixdvae:MixDVAE",
        "guides.mixdvae:MixDVAEGuide",
        "000/001",
        "Several paths are seen as detections in any order, and nobody says which is whose.",
        settings=lambda data: {"data_dim": data["o"].shape[-1]},
        simulate=_later("detections"),
        parts=_later("source_prior"),
    ),
    _of_senses("multimodal", "JMVAE", "read together by one encoder, and apart by one each."),
    _of_senses("multimodal", "MVAE", "each an expert on it, and what they say is multiplied."),
    _of_senses("disentangled", "DMVAE", "which share a code and have a private one each."),
    _of_senses("multimodal", "MMVAE", "its code read from any one of them at a time."),
    _of_senses("multimodal", "MoPoE", "its code read from any subset of them at a time."),
)
