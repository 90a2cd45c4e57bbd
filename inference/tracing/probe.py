"""Whether a pair may be drawn from all at once: two draws against the same two, one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from pyro import poutine
from pyro.poutine import Trace
from pyro.poutine.guide import GuideMessenger
from torch import Tensor

from inference.tracing.handlers import WholePriors
from inference.tracing.runner import Runner
from inference.tracing.sites import (
    Place,
    Site,
    is_delta,
    is_deterministic,
    node,
    sample_sites,
    unscaled_log_density,
)
from inference.tracing.sum_product import log_joint
from inference.tracing.traces import Traces
from inference.tracing.wrappers import WRAPPERS, unwrapped

_TOLERANCE = 1e-3  # of 1 + |log density|: far above float32 rounding, far below a wrong broadcast


def disagreement(runner: Runner) -> str:
    """Say where two draws made at once differ from two made one by one; empty if nowhere.

    Three things are compared: that the draws vary wherever repeated runs of the guide vary (a guide
    that makes its own noise outside a sample site would repeat one draw), every site's log density
    at the same values, and the sum over enumerated sites. What does not broadcast at all raises.
    """
    if isinstance(poutine.unwrap(runner.guide), GuideMessenger):
        return "the guide is a handler around the model"
    both = runner.traces(2)
    alone = [runner.traces(None), runner.traces(None)]
    return (
        _frozen(both, alone)
        or next(filter(None, (_densities(runner, both, s) for s in (0, 1))), "")
        or (_sums(runner, both) if runner.enumerated else "")
    )


def _frozen(both: Traces, alone: list[Traces]) -> str:
    for name, site in sample_sites(both.guide).items():
        place = both.guide_places[name]
        draws = place.value(site["value"], 2)
        loops = [place.value(node(t.guide, name)["value"], 1) for t in alone]
        varies, equal = (loops[0] != loops[1])[0], draws[0] == draws[1]
        # discrete draws may coincide in places, though hardly in all
        repeats = varies & equal if draws.is_floating_point() else varies & equal.all()
        if bool(repeats.any()):
            return f"site {name!r}: the guide makes one draw and repeats it"
    return ""


def _densities(runner: Runner, both: Traces, draw: int) -> str:
    guide, model = _one(runner, both, draw)
    pairs = ((both.guide, guide, both.guide_places), (both.model, model, both.places))
    for together, single, places in pairs:
        for name, site in sample_sites(together).items():
            there = node(single, name)
            if is_deterministic(site):
                if not _equal(site, there, places[name], draw):
                    return f"site {name!r}: its value changes when draws are made at once"
                continue
            if _remade(site, there, places[name], draw) or _estimated(site):
                continue
            ours = places[name].batch(unscaled_log_density(site), 2)[draw]
            theirs = places[name].batch(unscaled_log_density(there), 1)[0]
            if not _close(ours, theirs):
                return f"site {name!r}: its log density changes when draws are made at once"
    return ""


def _one(runner: Runner, both: Traces, draw: int) -> tuple[Trace, Trace]:
    """Run the pair alone at the values of one of two draws made at once."""
    fixed = _values(both.guide, both.guide_places, draw, deltas=False)
    guide = poutine.condition(runner.guide, data=fixed)
    model = poutine.condition(runner.model, data=_values(both.model, both.places, draw))
    traces = [poutine.trace(fn).get_trace(*runner.args, **runner.kwargs) for fn in (guide, model)]
    return traces[0], traces[1]


def _values(
    trace: Trace, places: dict[str, Place], draw: int, deltas: bool = True
) -> dict[str, Tensor]:
    return {
        name: places[name].value(site["value"], 2)[draw].reshape(places[name].shape)
        for name, site in sample_sites(trace).items()
        if not site["is_observed"] and (deltas or not is_delta(site))
    }


def _remade(site: Site, there: Site, place: Place, draw: int) -> bool:
    """Say whether a Delta of the guide was made again by noise of its own: nothing to compare."""
    return is_delta(site) and not _equal(site, there, place, draw)


def _equal(site: Site, there: Site, place: Place, draw: int) -> bool:
    """Say whether a site's value in one of two draws made at once is that of a single run."""
    both = place.value(site["value"], 2)
    ours, theirs = both[min(draw, len(both) - 1)], place.value(there["value"], 1)[0]
    if not ours.is_floating_point():
        return torch.equal(ours, theirs)
    return torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def _estimated(site: Site) -> bool:
    """Say whether a density is an estimate, drawn anew each time: nothing to compare."""
    return bool(getattr(unwrapped(site["fn"], WRAPPERS), "estimates", False))


def _sums(runner: Runner, both: Traces) -> str:
    together = runner.replayed(both.guide, 2, "summed")
    ours = log_joint(replace(both, model=together).terms(None))
    for draw in (0, 1):
        values = _values(both.model, both.places, draw)
        fixed = {n: v for n, v in values.items() if n not in runner.enumerated}
        given: Any = WholePriors()(poutine.condition(runner.model, data=fixed))
        model = poutine.enum(given, first_available_dim=-runner.nesting - 2)
        alone = poutine.trace(model).get_trace(*runner.args, **runner.kwargs)
        theirs = log_joint(replace(both, model=alone, size=1, plated=False).terms(None))
        if not _close(ours[draw], theirs[0]):
            return "the sum over enumerated sites changes when draws are made at once"
    return ""


def _close(a: Tensor, b: Tensor) -> bool:
    close = (a - b).abs() <= _TOLERANCE * (1 + b.abs())
    return a.shape == b.shape and bool((close | (a == b)).all())
