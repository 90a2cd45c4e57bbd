"""A pair and its data, and how to run it: draws of the guide, the model replayed on them.

The guide is *run*, never re-derived: whatever it does, these are its draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, Literal

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine import Trace
from pyro.poutine.guide import GuideMessenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from inference.tracing.decoding import sampled
from inference.tracing.finite import explain_nonfinite
from inference.tracing.handlers import SameRows, Unconditioned, WholePriors
from inference.tracing.layout import data_plate, rows_in
from inference.tracing.sites import (
    Plate,
    Site,
    is_deterministic,
    is_enumerated,
    is_observed,
    mask_of,
    nesting_of,
    node,
    place_of,
    refuse_uncovered,
    sample_sites,
)
from inference.tracing.steady import has_nan, refuse_unsteady
from inference.tracing.terms import frame_of
from inference.tracing.traces import Traces, plated
from inference.tracing.wrappers import both

Mode = Literal["plain", "sampled", "summed"]


class Runner:
    """A pair and its data, ready to be run. Make and use it inside `quiet`.

    Parameters
    ----------
    model, guide
        A bound pair (`inference.tracing.bind`).
    args, kwargs
        The data, as the pair takes them.
    plate
        The name of the data plate, when it is ambiguous.

    Attributes
    ----------
    places, guide_places
        The place of the dims of each sample site of the model and of the guide.
    latents, enumerated, observed
        Names of the model's sites: drawn by the guide; summed exactly; data.
    plate
        The data plate (`Plate`), or None if the pair has no plate at all.
    rows
        By plate that subsamples itself, the indices that it chose: the same in all draws.
    is_local
        Whether every site lies in the data plate, so that each datum has a posterior of its own.
    """

    def __init__(
        self,
        model: nn.Module,
        guide: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        plate: str | None = None,
    ) -> None:
        self.model, self.guide, self.args, self.kwargs = model, guide, args, kwargs
        self.nesting = 0  # until it is known: the first run makes no plate of draws
        self.rows: dict[str, Tensor] = {}
        guide_trace, model_trace = self._first_run()
        refuse_uncovered(model_trace, guide_trace)
        refuse_unsteady(model, guide, (model_trace, guide_trace), args, kwargs)
        self._refuse_nan(model_trace)
        self._keep_rows(guide_trace, model_trace)
        self.nesting = nesting_of(guide_trace, model_trace)
        self.places = {n: place_of(s, self.nesting) for n, s in sample_sites(model_trace).items()}
        self.guide_places = {
            n: place_of(s, self.nesting) for n, s in sample_sites(guide_trace).items()
        }
        self.sites: dict[str, Site] = sample_sites(model_trace)
        self.guide_sites: dict[str, Site] = sample_sites(guide_trace)
        self.latents = [n for n in self.sites if n in guide_trace.nodes]
        self.enumerated = [
            n for n, s in self.sites.items() if is_enumerated(s) and n not in self.latents
        ]
        self.observed = [n for n, s in self.sites.items() if is_observed(s)]
        frame = data_plate(model_trace, rows_in(args, kwargs), plate)
        self.plate = None if frame is None else Plate.of(frame)
        self.is_local = self._inside(guide_trace, model_trace)
        self.cost = self._cost(guide_trace, model_trace)

    def _refuse_nan(self, model_trace: Trace) -> None:
        """Refuse NaN in the data, unless the model says what they stand for."""
        if any(has_nan(site) for site in sample_sites(model_trace).values()):
            error = explain_nonfinite(self.model, self.guide, self.args, self.kwargs)
            if error.site is not None:
                raise error

    def _keep_rows(self, *traces: Trace) -> None:
        """Remember the rows that plates chose; from now on they choose no others."""
        sites: dict[str, Any] = {n: s for t in traces for n, s in t.nodes.items()}
        for name, site in sites.items():
            if site["type"] == "sample" and site_is_subsample(site):
                rows = site["value"]
                if not torch.equal(rows, torch.arange(site["fn"].size, device=rows.device)):
                    self.rows[name] = rows
        if self.rows:
            keep: Any = SameRows(self.rows)
            self.model, self.guide = keep(self.model), keep(self.guide)

    def _inside(self, *traces: Trace) -> bool:
        sites = [s for t in traces for s in sample_sites(t).values() if not is_deterministic(s)]
        name = None if self.plate is None else self.plate.name
        return name is not None and all(frame_of(site, name) for site in sites)

    def _first_run(self) -> tuple[Trace, Trace]:
        try:
            guide = self._guided(None)
            return guide, self.replayed(guide, None, "plain")
        except ValueError as error:  # torch refuses NaN parameters without naming the site
            if "constraint" not in str(error):
                raise
            raise explain_nonfinite(self.model, self.guide, self.args, self.kwargs) from error

    def traces(self, size: int | None, mode: Mode = "plain") -> Traces:
        """Draw `size` times in one run with an outer plate, or once without one (None)."""
        guide = self._guided(size)
        model = self.replayed(guide, size, mode)
        several = size is not None
        return Traces(guide, model, size or 1, several, self.places, self.guide_places)

    def traces_of(self, values: Mapping[str, Tensor], size: int | None, mode: Mode) -> Traces:
        """Run the model on latents by site, shaped as in a trace; arguments else as `traces`."""

        def draw(*args: Any, **kwargs: Any) -> None:
            for name, value in values.items():
                point = dist.Delta(value, event_dim=self.places[name].event_dim)
                pyro.sample(name, point)

        guide = self.run(draw, size)
        model = self.replayed(guide, size, mode)
        return Traces(guide, model, size or 1, size is not None, self.places, self.guide_places)

    def predict(self, traces: Traces) -> dict[str, Tensor]:
        """Draw data from the model on the latents of `traces`: by site, ``(S, plates, event)``.

        What a sequence's distribution does not count is drawn given what it counts, where the
        distribution knows how (``complete``): it has summed over latents, or frames read frames.
        """
        latents = [*self.latents, *self.enumerated]
        values = {n: node(traces.model, n)["value"] for n in latents}
        size = traces.size if traces.plated else None
        forward: Any = Unconditioned()(plated(self.model, size, self.nesting))
        fixed = poutine.condition(forward, data=values)
        trace = poutine.trace(fixed).get_trace(*self.args, **self.kwargs)
        drawn = {n: _completed(node(trace, n), self.sites[n]) for n in self.observed}
        return {n: self.places[n].value(value, traces.size) for n, value in drawn.items()}

    def data(self, name: str) -> Tensor:
        """Return the value of an observed site, ``(plates..., event...)``."""
        return self.places[name].value(self.sites[name]["value"].detach(), 1)[0]

    def mask(self, name: str, seen: bool = True) -> Tensor | None:
        """Return which values of a site exist, ``(plates..., event...)``; None if all do.

        What is masked in the model or in the guide does not: frames after a sequence's end,
        missing data; nor, if ``seen``, what a sequence has that was not observed. Of a latent,
        ``mask(False)`` masks nothing: it makes a flat prior.
        """
        found = [m for s in self._sides(name) if (m := mask_of(s, seen)) is not None]
        if name not in self.observed:
            found = [mask for mask in found if mask.dim()]
        mask = reduce(both, found, None)
        if mask is None:
            return None
        place = self.places.get(name) or self.guide_places[name]
        return place.value(mask.expand(torch.broadcast_shapes(mask.shape, place.shape)), 1)[0]

    def predictable(self, name: str) -> Tensor | None:
        """Return which values of an observed site can be predicted; None if all can.

        Those that exist, seen or not; and all those of a datum that has none, as of a modality that
        is missing.
        """
        mask = self.mask(name, seen=False)
        axis = self.places[name].axis(self.plate.name) if self.plate else None
        if mask is None or axis is None:
            return mask
        others = [dim for dim in range(mask.dim()) if dim != axis - 1]
        there = mask
        for dim in others:
            there = there.any(dim, True)
        return mask | ~there

    def _sides(self, name: str) -> list[Site]:
        """Return a site in the model and in the guide; not what is computed from others."""
        sides = [sites[name] for sites in (self.sites, self.guide_sites) if name in sites]
        return [site for site in sides if not is_deterministic(site)]

    def _guided(self, size: int | None) -> Trace:
        effect = poutine.unwrap(self.guide)
        if isinstance(effect, GuideMessenger):  # a guide that wraps the model as a handler
            plated(self.guide, size, self.nesting)(*self.args, **self.kwargs)
            return effect.get_traces()[1]
        return self.run(self.guide, size)

    def run(self, fn: Callable[..., Any], size: int | None) -> Trace:
        """Trace one run of a function on the data, `size` draws at once or one without a plate."""
        return poutine.trace(plated(fn, size, self.nesting)).get_trace(*self.args, **self.kwargs)

    def replayed(self, guide: Trace, size: int | None, mode: Mode) -> Trace:
        """Run the model on a guide's trace of `size` draws."""
        model = plated(self.model, size, self.nesting)
        if mode == "plain" or not self.enumerated:
            model = poutine.replay(model, trace=guide)
        else:
            # conditioned, since enumeration does not see which dims a replayed site depends on
            drawn = {n: s["value"] for n, s in sample_sites(guide).items() if not s["is_observed"]}
            model = WholePriors()(poutine.condition(model, data=drawn))
            make = poutine.enum if mode == "summed" else sampled
            model = make(model, first_available_dim=-self.nesting - 2)
        return poutine.trace(model).get_trace(*self.args, **self.kwargs)

    def _cost(self, guide: Trace, model: Trace) -> int:
        numbers = sum(s["value"].numel() for t in (guide, model) for s in sample_sites(t).values())
        supports = [self.sites[n]["fn"].enumerate_support(expand=False) for n in self.enumerated]
        return max(1, numbers) * max((len(s) for s in supports), default=1)


def _completed(drawn: Site, data: Site) -> Tensor:
    """Return what was drawn of a site; where it is not counted, given the rest of the data."""
    value: Tensor = drawn["value"]
    complete, mask = getattr(drawn["fn"], "complete", None), mask_of(data)
    if complete is None or mask is None or bool(mask.all()):
        return value
    return torch.where(mask, value, complete(data["value"]).to(value))
