"""Whether a pair may be drawn from all at once: two draws against the same two, one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pyro import poutine
from pyro.poutine import Trace
from pyro.poutine.guide import GuideMessenger
from torch import Tensor

from inference.tracing.sites import Place, Site, is_delta, log_density, node, samples
from inference.tracing.sum_product import log_joint
from inference.tracing.traces import Traces

if TYPE_CHECKING:
    from inference.tracing.sampler import Sampler

_TOLERANCE = 1e-3  # of 1 + |log density|: far above float32 rounding, far below a wrong broadcast


def disagreement(sampler: Sampler) -> str:
    """Say where two draws made at once differ from two made one by one; empty if nowhere.

    Three things are compared: that the draws vary wherever repeated runs of the guide vary (a guide
    that makes its own noise outside a sample site would repeat one draw), every site's log density
    at the same values, and the sum over enumerated sites. What does not broadcast at all raises.
    """
    if isinstance(poutine.unwrap(sampler.guide), GuideMessenger):
        return "the guide is a handler around the model"
    both = sampler.traces(2)
    alone = [sampler.traces(None), sampler.traces(None)]
    return (
        _frozen(both, alone)
        or next(filter(None, (_densities(sampler, both, s) for s in (0, 1))), "")
        or (_sums(sampler, both) if sampler.enumerated else "")
    )


def _frozen(both: Traces, alone: list[Traces]) -> str:
    for name, site in samples(both.guide):
        place = both.guide_places[name]
        draws = place.value(site["value"], 2)
        loops = [place.value(node(t.guide, name)["value"], 1) for t in alone]
        varies, equal = (loops[0] != loops[1])[0], draws[0] == draws[1]
        # discrete draws may coincide in places, though hardly in all
        repeats = varies & equal if draws.is_floating_point() else varies & equal.all()
        if bool(repeats.any()):
            return f"site {name!r}: the guide makes one draw and repeats it"
    return ""


def _densities(sampler: Sampler, both: Traces, draw: int) -> str:
    guide, model = _one(sampler, both, draw)
    pairs = ((both.guide, guide, both.guide_places), (both.model, model, both.places))
    for together, single, places in pairs:
        for name, site in samples(together):
            there = node(single, name)
            if _remade(site, there, places[name], draw):
                continue
            ours = places[name].batch(log_density(site), 2)[draw]
            theirs = places[name].batch(log_density(there), 1)[0]
            if not _close(ours, theirs):
                return f"site {name!r}: its log density changes when draws are made at once"
    return ""


def _one(sampler: Sampler, both: Traces, draw: int) -> tuple[Trace, Trace]:
    """Run the pair alone at the values of one of two draws made at once."""
    fixed = _values(both.guide, both.guide_places, draw, deltas=False)
    guide = poutine.condition(sampler.guide, data=fixed)
    model = poutine.condition(sampler.model, data=_values(both.model, both.places, draw))
    traces = [poutine.trace(fn).get_trace(*sampler.args, **sampler.kwargs) for fn in (guide, model)]
    return traces[0], traces[1]


def _values(
    trace: Trace, places: dict[str, Place], draw: int, deltas: bool = True
) -> dict[str, Tensor]:
    return {
        name: places[name].value(site["value"], 2)[draw].reshape(places[name].shape)
        for name, site in samples(trace)
        if not site["is_observed"] and (deltas or not is_delta(site))
    }


def _remade(site: Site, there: Site, place: Place, draw: int) -> bool:
    """Say whether a Delta of the guide was made anew by noise of its own: nothing to compare."""
    if not is_delta(site):
        return False
    ours, theirs = place.value(site["value"], 2)[draw], place.value(there["value"], 1)[0]
    return not torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def _sums(sampler: Sampler, both: Traces) -> str:
    places = sampler.places, sampler.guide_places
    together = sampler.replayed(both.guide, 2, "summed")
    ours = log_joint(Traces(both.guide, together, 2, True, *places), None)
    for draw in (0, 1):
        values = _values(both.model, both.places, draw)
        fixed = {n: v for n, v in values.items() if n not in sampler.enumerated}
        model = poutine.enum(
            poutine.condition(sampler.model, data=fixed), first_available_dim=-sampler.nesting - 2
        )
        alone = poutine.trace(model).get_trace(*sampler.args, **sampler.kwargs)
        theirs = log_joint(Traces(both.guide, alone, 1, False, *places), None)
        if not _close(ours[draw], theirs[0]):
            return "the sum over enumerated sites changes when draws are made at once"
    return ""


def _close(a: Tensor, b: Tensor) -> bool:
    close = (a - b).abs() <= _TOLERANCE * (1 + b.abs())
    return a.shape == b.shape and bool((close | (a == b)).all())
