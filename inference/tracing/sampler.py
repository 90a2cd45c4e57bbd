"""Draws of a guide and the model replayed on them, all at once where the pair allows it.

The guide is *run*, never re-derived: whatever it does, these are its draws. With an outer plate of
draws (`vectorised`) five hundred of them cost little more than one; a pair that does not broadcast
(or whose answers change when it is asked to) is run draw by draw instead, to the same distribution.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

import pyro
import torch
from pyro import poutine
from pyro.infer import infer_discrete
from pyro.poutine import Trace
from pyro.poutine.guide import GuideMessenger
from torch import Tensor, nn

from inference.tracing.layout import Layout, batch_length, data_plate, untouched
from inference.tracing.nonfinite import explain_nonfinite
from inference.tracing.probe import disagreement
from inference.tracing.sites import (
    Plate,
    Site,
    is_enumerated,
    nesting_of,
    node,
    place_of,
    refuse_uncovered,
    samples,
)
from inference.tracing.traces import DRAWS, Traces

if TYPE_CHECKING:
    pass


Mode = Literal["plain", "sampled", "summed"]
_BUDGET = 4_000_000  # numbers held by the sites of one chunk, unless the caller says otherwise


@contextmanager
def quiet(model: nn.Module, guide: nn.Module, seed: int) -> Iterator[None]:
    """Judge without a trace: seeded, no gradients, evaluation mode; all restored afterwards.

    Evaluation mode (``module.eval()``) because dropout noise and batch statistics belong to
    training; submodules get their own mode back.
    """
    with untouched(model, guide, seed=seed), torch.no_grad():
        model.eval()
        guide.eval()
        yield


class Sampler:
    """A pair and its data, ready to be drawn from. Make and use it inside `quiet`.

    Parameters
    ----------
    model, guide
        A bound pair (`inference.tracing.bind.bind`).
    args, kwargs
        The data, as the pair takes them.
    plate
        The name of the data plate, when the engine cannot tell.
    vectorised
        True or False to force one way of drawing; by default the pair is probed.

    Attributes
    ----------
    places, guide_places
        The place of the dims of each sample site of the model and of the guide.
    latents, enumerated, observed
        Names of the model's sites: drawn by the guide; summed exactly; data.
    plate
        The data plate (`Plate`), or None if the pair has no plate at all.
    vectorised
        Whether all draws come from one run.
    reason
        Why not, in words; empty if they do.
    """

    def __init__(
        self,
        model: nn.Module,
        guide: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        plate: str | None = None,
        vectorised: bool | None = None,
    ) -> None:
        self.model, self.guide, self.args, self.kwargs = model, guide, args, kwargs
        guide_trace, model_trace = self._first_run()
        refuse_uncovered(model_trace, guide_trace)
        self.nesting = nesting_of(guide_trace, model_trace)
        self.places = {n: place_of(s, self.nesting) for n, s in samples(model_trace)}
        self.guide_places = {n: place_of(s, self.nesting) for n, s in samples(guide_trace)}
        self.sites: dict[str, Site] = dict(samples(model_trace))
        self.latents = [n for n in self.sites if n in guide_trace.nodes]
        self.enumerated = [
            n for n, s in self.sites.items() if is_enumerated(s) and n not in self.latents
        ]
        self.plate = _data_plate(model_trace, args, kwargs, plate)
        self.cost = self._cost(guide_trace, model_trace)
        self.reason = "" if vectorised is None else "told so" * (not vectorised)
        if vectorised is None:
            self.reason = self._probe()
        self.vectorised = not self.reason

    def _first_run(self) -> tuple[Trace, Trace]:
        try:
            guide = self._guided(None)
            return guide, self.replayed(guide, None, "plain")
        except ValueError as error:  # torch refuses NaN parameters without naming the site
            if "constraint" not in str(error):
                raise
            raise explain_nonfinite(self.model, self.guide, self.args, self.kwargs) from error

    def with_data(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sampler:
        """Return a sampler of the same pair on other data of the same shapes."""
        other = object.__new__(Sampler)
        other.__dict__.update(self.__dict__, args=args, kwargs=kwargs)
        return other

    def chunks(
        self, num_samples: int, mode: Mode = "plain", chunk: int | None = None
    ) -> Iterator[Traces]:
        """Draw in chunks, so that memory is bounded.

        Parameters
        ----------
        num_samples
            How many, in all.
        mode
            What to do with enumerated sites: draw them from the prior (``plain``), from their
            exact posterior given the guide's draw (``sampled``), or enumerate (``summed``).
        chunk
            How many at a time; by default as many as keep the sites' values under four million.
        """
        if num_samples < 1:
            raise ValueError(f"draws: saw {num_samples}, expected at least 1")
        if not self.vectorised:
            yield from (self.traces(None, mode) for _ in range(num_samples))
            return
        step = min(num_samples, chunk or max(1, _BUDGET // self.cost))
        for start in range(0, num_samples, step):
            yield self.traces(min(step, num_samples - start), mode)

    def traces(self, size: int | None, mode: Mode = "plain") -> Traces:
        """Draw `size` times in one run with an outer plate, or once without one (None)."""
        guide = self._guided(size)
        model = self.replayed(guide, size, mode)
        plated = size is not None
        return Traces(guide, model, size or 1, plated, self.places, self.guide_places)

    def predict(self, traces: Traces) -> Trace:
        """Run the model forward from the latents of `traces`: data are drawn, not observed."""
        latents = [*self.latents, *self.enumerated]
        values = {n: node(traces.model, n)["value"] for n in latents}
        size = traces.size if traces.plated else None
        forward = poutine.uncondition(self._plated(self.model, size))
        fixed = poutine.condition(forward, data=values)
        return poutine.trace(fixed).get_trace(*self.args, **self.kwargs)

    def _guided(self, size: int | None) -> Trace:
        effect = poutine.unwrap(self.guide)
        if isinstance(effect, GuideMessenger):  # a guide that wraps the model as a handler
            self._plated(self.guide, size)(*self.args, **self.kwargs)
            return effect.get_traces()[1]
        return self.run(self.guide, size)

    def run(self, fn: Callable[..., Any], size: int | None) -> Trace:
        """Trace one run of a function on the data, `size` draws at once or one without a plate."""
        return poutine.trace(self._plated(fn, size)).get_trace(*self.args, **self.kwargs)

    def _plated(self, fn: Callable[..., Any], size: int | None) -> Callable[..., Any]:
        if size is None:
            return fn

        def run(*args: Any, **kwargs: Any) -> Any:
            with pyro.plate(DRAWS, size, dim=-self.nesting - 1):
                return fn(*args, **kwargs)

        return run

    def replayed(self, guide: Trace, size: int | None, mode: Mode) -> Trace:
        """Run the model on a guide's trace of `size` draws."""
        model = self._plated(self.model, size)
        if mode == "plain" or not self.enumerated:
            model = poutine.replay(model, trace=guide)
        else:
            # conditioned, since enumeration does not see which dims a replayed site depends on
            drawn = {n: s["value"] for n, s in samples(guide) if not s["is_observed"]}
            model = poutine.condition(model, data=drawn)
            enumerate_ = (
                poutine.enum if mode == "summed" else partial(infer_discrete, temperature=1)
            )
            model = enumerate_(model, first_available_dim=-self.nesting - 2)
        return poutine.trace(model).get_trace(*self.args, **self.kwargs)

    def _cost(self, guide: Trace, model: Trace) -> int:
        numbers = sum(s["value"].numel() for t in (guide, model) for _, s in samples(t))
        supports = [self.sites[n]["fn"].enumerate_support(expand=False) for n in self.enumerated]
        return max(1, numbers) * max((len(s) for s in supports), default=1)

    def _probe(self) -> str:
        """Say why the pair cannot be drawn all at once; an empty string if it can."""
        try:
            return disagreement(self)
        except Exception as error:  # whatever a pair that does not broadcast may raise
            return f"{type(error).__name__}: {error}"


def _data_plate(
    trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any], name: str | None
) -> Plate | None:
    frame = data_plate(trace, batch_length(args, kwargs), name)
    if frame is None or frame.dim is None:
        return None
    return Plate(frame.name, frame.dim, frame.size, frame.full_size or frame.size)


def stack_draws(parts: list[Tensor]) -> Tensor:
    """Join chunks along the draws, on the CPU."""
    return torch.cat([part.detach().cpu() for part in parts])


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Return the mean of a vector and the mean's standard error (NaN for one value)."""
    values = values.double()
    if values.numel() < 2:
        return float(values.mean()), math.nan
    return float(values.mean()), float(values.std() / math.sqrt(values.numel()))


# by model, guide and the shape of the call
_samplers: WeakKeyDictionary[Any, WeakKeyDictionary[Any, dict[Any, Sampler]]] = WeakKeyDictionary()


def sampler_of(
    model: Any, guide: Any, args: tuple[Any, ...], kwargs: dict[str, Any], shape: Layout
) -> Sampler:
    """Return what draws from a pair with a data plate; the pair is probed in evaluation mode."""
    pass

    assert shape.plate is not None
    dims = tuple(v.dim() if isinstance(v, Tensor) else None for v in (*args, *kwargs.values()))
    key = shape.plate.name, batch_length(args, kwargs), dims, tuple(kwargs)
    known = _samplers.setdefault(model, WeakKeyDictionary()).setdefault(guide, {})
    if key not in known:
        with quiet(model, guide, seed=0):
            found = copy.copy(Sampler(model, guide, args, kwargs, shape.plate.name))
        found.model = found.guide = nn.Identity()  # what is kept holds neither pair nor data
        found.sites, found.args, found.kwargs = {}, (), {}
        known[key] = found
    sampler = known[key].with_data(args, kwargs)
    sampler.model, sampler.guide = model, guide
    return sampler
