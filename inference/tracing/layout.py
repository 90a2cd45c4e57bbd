"""What a pair is made of: its traces, plates and enumerated sites, found by running it once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import pyro
import torch
from pyro import poutine
from pyro.poutine import Trace
from pyro.poutine.guide import GuideMessenger
from pyro.poutine.indep_messenger import CondIndepStackFrame
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor, nn

from inference.errors import PairError
from inference.randomness import seeded
from inference.tracing.sites import is_deterministic, sample_sites
from inference.tracing.terms import frame_of


@dataclass(frozen=True)
class Layout:
    """The parts of a pair that training needs to know.

    Parameters
    ----------
    plate
        The frame of the data plate, or None where there is none.
    max_plate_nesting
        Batch dims that plates use, counted from the right; enumeration uses those to their left.
    enumerated
        Sites of the model that are summed out: marked for enumeration and absent from the guide.
    enumerates
        Whether any site of model or guide is marked for enumeration.
    local
        Whether every site lies in the data plate, so that the bound is a sum over data.
    outside
        The enumerated sites outside the data plate.
    pathwise
        Whether the guide draws every latent site, as a differentiable function of noise.
    drawn
        Latent sites of the model that the guide names.
    """

    plate: CondIndepStackFrame | None
    max_plate_nesting: int
    enumerated: tuple[str, ...]
    enumerates: bool
    local: bool
    outside: tuple[str, ...]
    pathwise: bool
    drawn: tuple[str, ...]


# by model, guide and the shape of the call
_layouts: WeakKeyDictionary[Any, WeakKeyDictionary[Any, dict[Any, Layout]]] = WeakKeyDictionary()


def layout(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
    plate: str | None = None,
) -> Layout:
    """Find the `Layout` of a pair; it is run once for a size of batch, and the answer remembered.

    A data plate that was found for one size of batch is the data plate for every other. Nothing of
    the pair, the generator or the param store is changed by that run.

    Raises
    ------
    PairError
        The data plate is ambiguous, or none has the name ``plate``.
    """
    kwargs = kwargs or {}
    known = _layouts.setdefault(model, WeakKeyDictionary()).setdefault(guide, {})
    batch, key = rows_in(args, kwargs), (plate, *call_key(args, kwargs))
    if key not in known:
        found = (past.plate.name for past in known.values() if past.plate is not None)
        name = plate or next(found, None)
        with untouched(model, guide), torch.no_grad():
            traces = pair_traces(model, guide, args, kwargs)
        plain = not isinstance(poutine.unwrap(guide), GuideMessenger)
        known[key] = _layout(*traces, batch, name, plain)
    return known[key]


def call_key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Return what makes a call another one: B, the ranks of tensors, and the names."""
    values = (*args, *kwargs.values())
    ranks = tuple(value.dim() if isinstance(value, Tensor) else None for value in values)
    return batch_length(args, kwargs), ranks, tuple(kwargs)


def _layout(
    model_trace: Trace, guide_trace: Trace, batch: int | None, plate: str | None, plain: bool
) -> Layout:
    frame = data_plate(model_trace, batch, plate)
    sites = sample_sites(model_trace) | sample_sites(guide_trace)
    marked = {
        name
        for trace in (model_trace, guide_trace)
        for name, site in sample_sites(trace).items()
        if site["infer"].get("enumerate") and not site["is_observed"]
    }
    summed = tuple(n for n in sample_sites(model_trace) if n in marked and n not in guide_trace)
    counted = [site for site in sites.values() if not is_deterministic(site)]
    return Layout(
        plate=frame,
        max_plate_nesting=plate_nesting(model_trace, guide_trace),
        enumerated=summed,
        enumerates=bool(marked),
        local=frame is not None and all(frame_of(site, frame.name) for site in counted),
        outside=tuple(n for n in summed if frame and not frame_of(sites[n], frame.name)),
        pathwise=plain and _is_pathwise(model_trace, guide_trace),
        drawn=tuple(n for n, s in _latent(model_trace).items() if n in guide_trace),
    )


def _is_pathwise(model_trace: Trace, guide_trace: Trace) -> bool:
    drawn = sample_sites(guide_trace)
    return all(name in drawn for name in _latent(model_trace)) and all(
        getattr(site["fn"], "has_rsample", False) for site in drawn.values()
    )


def _latent(trace: Trace) -> dict[str, Any]:
    return {name: site for name, site in sample_sites(trace).items() if not site["is_observed"]}


def batch_length(args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> int:
    """B: the length of the first tensor with a dim among the arguments; 1 if there is none."""
    return rows_in(args, kwargs or {}) or 1


def rows_in(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int | None:
    """Return the length of the first tensor with a dim; None where the model holds its data."""
    tensors = (v for v in (*args, *kwargs.values()) if isinstance(v, Tensor) and v.dim())
    return next((len(value) for value in tensors), None)


def pair_traces(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
) -> tuple[Trace, Trace]:
    """Run the guide, then the model on its draws; return the traces of model and guide.

    Enumerated sites of the model are drawn from their priors. Log densities are not computed.
    """
    with poutine.block():
        return open_traces(model, guide, args, kwargs)


def open_traces(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
) -> tuple[Trace, Trace]:
    """Do what `pair_traces` does, in sight of the handlers around it."""
    kwargs = kwargs or {}
    effect = poutine.unwrap(guide)
    if isinstance(effect, GuideMessenger):
        guide(*args, **kwargs)
        model_trace, guide_trace = effect.get_traces()
    else:
        guide_trace = poutine.trace(guide).get_trace(*args, **kwargs)
        replayed = poutine.replay(model, trace=guide_trace)
        model_trace = poutine.trace(replayed).get_trace(*args, **kwargs)
    return prune_subsample_sites(model_trace), prune_subsample_sites(guide_trace)


def plate_nesting(*traces: Trace) -> int:
    """Batch dims, counted from the right, that the plates in these traces use."""
    frames = (f for t in traces for s in sample_sites(t).values() for f in s["cond_indep_stack"])
    return max((-frame.dim for frame in frames if frame.vectorized), default=0)


def data_plate(
    trace: Trace, batch_len: int | None, plate: str | None = None, unseen: bool = False
) -> CondIndepStackFrame | None:
    """Find the plate over observations in a trace of the model.

    It is the vectorised plate around an observed site that has ``batch_len`` elements (or had,
    before it subsampled them itself), and the outermost of these: of the smallest dim.

    Parameters
    ----------
    trace
        A trace of the model.
    batch_len
        B, the length of the first tensor of the data; None where the model holds its data itself:
        then a plate of any size will do, if only one is outermost.
    plate
        The name of the plate, where it should not be guessed.
    unseen
        Whether a plate around sites of which none is observed will do.

    Returns
    -------
    CondIndepStackFrame or None
        Its ``name``, ``dim``, ``size`` and ``full_size``; None if no plate has that size.

    Raises
    ------
    PairError
        Two plates qualify, or none has the name ``plate``.
    """
    sites = sample_sites(trace).values()
    frames = {f for site in sites for f in site["cond_indep_stack"] if f.vectorized}
    if plate is not None:
        return _named(frames, plate)
    around = {f for site in sites if unseen or _is_data(site) for f in site["cond_indep_stack"]}
    fit = [f for f in frames & around if batch_len in (None, f.size, f.full_size)]
    outermost = [f for f in fit if f.dim == min(g.dim for g in fit)]
    names = sorted({f.name for f in outermost})
    if len(names) > 1 and batch_len is None:
        return None
    if len(names) > 1:
        raise PairError(
            None,
            f"the plates {', '.join(names)} all have size {batch_len} and dim {outermost[0].dim}",
            "one plate over observations",
            f"name it: plate='{names[0]}'",
        )
    return outermost[0] if outermost else None


def _named(frames: set[CondIndepStackFrame], plate: str) -> CondIndepStackFrame:
    for frame in frames:
        if frame.name == plate:
            return frame
    names = ", ".join(sorted({f.name for f in frames})) or "none"
    raise PairError(
        plate, f"the plates {names}", f"a plate named '{plate}'", "pass the name of the data plate"
    )


def _is_data(site: Any) -> bool:
    return bool(site["is_observed"]) and not is_deterministic(site)


@contextmanager
def untouched(*modules: Any, seed: int = 0) -> Iterator[None]:
    """Run a block that leaves modules, random generators and Pyro's param store as they were.

    Buffers, training mode and attributes are put back; the block itself draws from ``seed``.
    Arguments that are no modules are let pass.
    """
    roots = [module for module in modules if isinstance(module, nn.Module)]
    with ExitStack() as stack:
        stack.enter_context(seeded(seed))
        stack.enter_context(pyro.get_param_store().scope())
        for part in {part for root in roots for part in root.modules()}:
            stack.callback(_restorer(part))
        yield


def _restorer(module: nn.Module) -> Callable[[], None]:
    plain = dict(vars(module))
    inside = [(v, copy.copy(v)) for v in plain.values() if isinstance(v, (list, dict, set))]
    buffers = [buffer for buffer in module._buffers.values() if buffer is not None]
    values = [(buffer, buffer.clone()) for buffer in buffers]

    def restore() -> None:
        vars(module).clear()
        vars(module).update(plain)
        for container, content in inside:
            container.clear()
            container.extend(content) if isinstance(container, list) else container.update(content)
        with torch.no_grad():
            for buffer, value in values:
                if not torch.equal(buffer, value):  # writing would spoil a backward pass to come
                    buffer.copy_(value)

    return restore
