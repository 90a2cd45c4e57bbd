"""A pair of a model and a guide as two modules, whatever the user wrote them as.

The engine works on ``torch.nn.Module`` pairs only: parameters live in them, never in Pyro's global
store, so that two fits in one process do not meet and ``state_dict`` is all that was learned.
Importing this module therefore switches ``pyro.settings`` to ``module_local_params``.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoGuide
from pyro.nn import PyroModule
from pyro.poutine.guide import GuideMessenger
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn
from torch.distributions import constraints, transform_to
from torch.nn.parameter import UninitializedParameter

from inference.errors import PairError
from inference.tracing.layout import open_traces, rows_in
from inference.tracing.pyro_errors import translated
from ppl_models.errors import InputError

pyro.settings.set(module_local_params=True)

NO_ROW = "look at how they were loaded, and at what was filtered out of them"


class FunctionModule(nn.Module):
    """A plain model or guide function, and the ``pyro.param`` of it as ``nn.Parameter``.

    A parameter ``scale`` is kept unconstrained under the name ``scale_unconstrained`` (a dot in a
    name becomes an underscore), and given to the function constrained.

    Parameters
    ----------
    fn
        A function that calls ``pyro.sample``. A bound method of an ``nn.Module``, or a module
        inside a Pyro handler, brings the parameters of that module.
    shared
        Parameters by their Pyro name, of all functions of one pair: a name used in model and guide
        is one parameter, as in Pyro's own store.
    """

    def __init__(self, fn: Callable[..., Any], shared: dict[str, nn.Parameter]) -> None:
        super().__init__()
        self.fn = fn
        self.owner = _owner(fn)
        self._shared = shared
        self._kept: dict[str, tuple[str, constraints.Constraint]] = {}
        self._open = True
        if self.owner is None:
            _refuse_hidden_modules(fn)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function on its own parameters."""
        with pyro.get_param_store().scope(), _OwnParams(self):
            return self.fn(*args, **kwargs)

    def close(self) -> None:
        """Take no further parameters: one that appears later would never be optimised."""
        self._open = False

    def value(self, name: str, init: Any, constraint: constraints.Constraint) -> Tensor:
        """The constrained value of one parameter; made from ``init`` when it is first asked for."""
        if name not in self._kept:
            self._keep(name, init, constraint)
        key, constraint = self._kept[name]
        unconstrained = getattr(self, key)
        value: Tensor = transform_to(constraint)(unconstrained)
        value.unconstrained = weakref.ref(unconstrained)  # type: ignore[attr-defined]
        return value

    def _keep(self, name: str, init: Any, constraint: constraints.Constraint) -> None:
        if not self._open:
            raise PairError(
                name,
                "a pyro.param that was not there on the first call",
                "the same parameters on every call",
                "declare every pyro.param on every call, before any branch",
            )
        if name not in self._shared:
            start = init() if callable(init) else init
            start = _PRETRAINED.get(name, start) if _fits(name, start) else start
            with torch.no_grad():
                unconstrained = transform_to(constraint).inv(start.detach()).clone()
            self._shared[name] = nn.Parameter(unconstrained)
        key = f"{name.replace('.', '_')}_unconstrained"
        self.register_parameter(key, self._shared[name])
        self._kept[name] = key, constraint

    def extra_repr(self) -> str:
        """Name the function."""
        return getattr(poutine.unwrap(self.fn), "__qualname__", repr(self.fn))


# What the user's own Pyro training left in the global store: read when a function is bound.
_PRETRAINED: dict[str, Tensor] = {}


def _fits(name: str, start: Any) -> bool:
    return name in _PRETRAINED and _PRETRAINED[name].shape == start.shape


class _OwnParams(Messenger):
    """Answers ``pyro.param`` statements from a `FunctionModule`."""

    def __init__(self, module: FunctionModule) -> None:
        super().__init__()
        self.module = module

    def _pyro_param(self, msg: Any) -> None:
        name, args = msg["name"], msg["args"]
        if "$$$" in name:
            msg["value"] = self._of_owner(name, args[1])
        elif len(args) > 1 and self._holds(args[1]):  # a PyroModule announces its own parameter
            msg["value"] = args[1]
        elif len(args) > 1 or name in self.module._kept:  # else PyroModule's own announcement
            constraint = msg["kwargs"].get("constraint", constraints.real)
            msg["value"] = self.module.value(name, args[1] if len(args) > 1 else None, constraint)

    def _holds(self, value: Any) -> bool:
        return isinstance(value, nn.Parameter) and any(
            value is own for own in self.module.parameters()
        )

    def _of_owner(self, name: str, tensor: Tensor) -> Tensor:
        """Let ``pyro.module`` pass where the module is one that this one holds already."""
        if self._holds(tensor):
            return tensor
        module = name.split("$$$")[0]
        raise PairError(
            module,
            f"pyro.module('{module}', ...) inside the function {self.module.extra_repr()}",
            "parameters in a module, not in Pyro's global store",
            "pass an nn.Module: one that holds this network and whose forward is the function",
        )


def bind(
    model: Callable[..., Any], guide: Callable[..., Any], *args: Any, **kwargs: Any
) -> tuple[nn.Module, nn.Module]:
    """Return model and guide as modules that own all their parameters.

    An ``nn.Module`` is returned as it is; one whose parameters do not exist yet (an AutoGuide,
    lazy layers) is first run once. A plain function becomes a module that owns its
    ``pyro.param``; they start where Pyro's global store has them, if it does, else at their
    ``init``. Binding what is bound already changes nothing. Neither the global store nor the
    generator of random numbers is changed, though initial values are drawn from the latter.

    Parameters
    ----------
    model, guide
        Modules, AutoGuides, plain functions, or methods of a module.
    *args, **kwargs
        The data, as both take them.

    Raises
    ------
    PairError
        A function uses a module that it does not own, by ``pyro.module`` or by closing over it.
    InputError
        The data have no row.
    """
    for role, part in (("model", model), ("guide", guide)):
        _refuse_uncallable(role, part)
    if rows_in(args, kwargs) == 0:
        raise InputError("data", "no row", "at least one observation", NO_ROW)
    for module in (model, guide):
        _make_local(module)
    store = pyro.get_param_store()
    _PRETRAINED.clear()
    _PRETRAINED.update({name: store[name].detach().clone() for name in store})
    shared: dict[str, nn.Parameter] = {}
    try:
        bound_model = model if isinstance(model, nn.Module) else FunctionModule(model, shared)
        bound_guide = guide if isinstance(guide, nn.Module) else FunctionModule(guide, shared)
        if _is_unfinished(bound_model) or _is_unfinished(bound_guide):
            with translated("a first run of guide and model"):
                _first_run(bound_model, bound_guide, args, kwargs)
    finally:
        _PRETRAINED.clear()
    return bound_model, bound_guide


def _refuse_uncallable(role: str, part: Any) -> None:
    """Refuse a class in place of an instance, and what cannot be run at all."""
    if callable(part) and not isinstance(part, type):
        return
    made = isinstance(part, type)
    found = f"the class {part.__name__}" if made else f"a {type(part).__name__}"
    cure = f"{part.__name__}(...)" if made else "a guide without latents is `lambda *args: None`"
    if made and issubclass(part, AutoGuide):
        cure = f"{part.__name__}(model)"
    raise PairError(role, found, "a function, or an instance of a class", cure)


def _first_run(model: nn.Module, guide: nn.Module, args: Any, kwargs: Any) -> None:
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=list(devices)), pyro.get_param_store().scope():
        # AutoGuides run the user's own function, whose pyro.param they refuse in local mode
        with pyro.settings.context(module_local_params=not isinstance(guide, AutoGuide)):
            open_traces(model, guide, args, kwargs)
    for module in (model, guide):
        if isinstance(module, FunctionModule):
            module.close()


def _is_unfinished(module: nn.Module) -> bool:
    if any(isinstance(parameter, UninitializedParameter) for parameter in module.parameters()):
        return True
    for part in module.modules():
        if isinstance(part, FunctionModule) and part._open:
            return True
        if isinstance(part, AutoGuide) and part.prototype_trace is None:
            return True
        if isinstance(part, GuideMessenger):  # makes its parameters when it first meets a site
            return True
    return False


def _make_local(module: Any) -> None:
    """Give modules that were made before this file was imported a store of their own."""
    for part in module.modules() if isinstance(module, nn.Module) else ():
        if isinstance(part, PyroModule) and not hasattr(part._pyro_context, "param_state"):
            part._pyro_context.param_state = {"params": {}, "constraints": {}}


def _owner(fn: Callable[..., Any]) -> nn.Module | None:
    inner = poutine.unwrap(fn)
    inner = getattr(inner, "__self__", inner)
    return inner if isinstance(inner, nn.Module) else None


def _refuse_hidden_modules(fn: Callable[..., Any]) -> None:
    """Refuse a function whose networks would never be learned, since nobody sees them."""
    inner = poutine.unwrap(fn)
    if not inspect.isfunction(inner):
        return
    closure = inspect.getclosurevars(inner)
    for name, value in {**closure.globals, **closure.nonlocals}.items():
        if isinstance(value, nn.Module) and any(p.requires_grad for p in value.parameters()):
            raise PairError(
                name,
                f"the function {inner.__qualname__} uses the module '{name}' from outside",
                "parameters in a module that is passed as model or guide",
                f"pass an nn.Module: one that holds '{name}' and whose forward is the function, "
                f"or freeze it by {name}.requires_grad_(False)",
            )
