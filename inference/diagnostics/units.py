r"""Latents number by number: what each costs, and whether it moves with the data.

A unit j is active if :math:`\mathrm{Var}_x E_{q(z \mid x)} z_j > 0.01` (Burda, Grosse and
Salakhutdinov 2016, section 5; He et al. 2019, section 4.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions import Independent, MaskedDistribution
from torch import Tensor

from inference.tracing import (
    Place,
    Plate,
    Sampler,
    Traces,
    layers,
    mask_of,
    mean_of,
    node,
    scale_of,
)

ACTIVE = 0.01


@dataclass(frozen=True)
class Unit:
    """One number of a latent site.

    Parameters
    ----------
    site, index
        Which: ``index`` among the numbers a datum has at this site.
    rate
        Its part of the site's rate, in nats a datum, 0 in data that lack it; None where guide or
        prior do not take the site's numbers one by one.
    spread
        The variance of its posterior mean over the data that have it.
    """

    site: str
    index: tuple[int, ...]
    rate: float | None
    spread: float

    @property
    def active(self) -> bool:
        """Whether it moves with the data."""
        return self.spread > ACTIVE


@dataclass(frozen=True)
class SiteReport:
    """One latent site of the guide.

    Parameters
    ----------
    site
        Its name.
    information, error
        What it carries of the data beyond the sites before it in the guide, in nats a datum:
        I_q(x; z_k | z_{<k}). They add up to the information of all sites.
    units
        Its numbers, one by one.
    """

    site: str
    information: float
    error: float
    units: tuple[Unit, ...]

    @property
    def active(self) -> int:
        """The number of active units."""
        return sum(unit.active for unit in self.units)

    @property
    def idle(self) -> str:
        """The units that are not active, in words, if they are few; else empty."""
        idle = [unit.index for unit in self.units if not unit.active]
        if not idle or len(idle) == len(self.units):
            return ""
        words = [",".join(map(str, index)) for index in idle[:8]]
        return f" (not {'; '.join(words)}{'; ...' if len(idle) > 8 else ''})"


def units(sampler: Sampler, num_samples: list[Traces], name: str, plate: Plate) -> list[Unit]:
    """Return the units of a guide's site that any datum has, from draws of the pair."""
    place, there = sampler.guide_places[name], _there(sampler, name, plate)
    means = torch.cat([_by_datum(_mean(t, name), place, plate, t.size) for t in num_samples])
    means = means.where(there, torch.zeros_like(means))
    spread, size = _variance(means.mean(0), there), len(means)
    if size > 1:  # the variance that so few draws leave in a mean is no spread over the data
        noise = means.var(0).sum(0) / there.sum(0).clamp(min=1)
        spread = (spread - noise / size).clamp(min=0.0)
    parts = [_rates(sampler, t, name, place, plate) for t in num_samples]
    rates = None if parts[0] is None else torch.cat([p for p in parts if p is not None]).mean(0)
    indices = [tuple(i) for i in there.any(0).nonzero().tolist()]
    return [
        Unit(name, i, None if rates is None else float(rates[i]), float(spread[i])) for i in indices
    ]


def _there(sampler: Sampler, name: str, plate: Plate) -> Tensor:
    """Return which numbers of a site each datum has, (N, numbers a datum...)."""
    place, mask = sampler.guide_places[name], sampler.mask(name)
    if mask is None:
        mask = torch.ones(place.shape, dtype=torch.bool)
        mask = place.value(mask, 1)[0]
    axis = place.axis(plate.name)
    assert axis is not None
    return mask.movedim(axis - 1, 0)


def _variance(values: Tensor, there: Tensor) -> Tensor:
    """Return the variance over the rows that are there; 0 where there are fewer than two."""
    count = there.sum(0)
    mean = (values * there).sum(0) / count.clamp(min=1)
    return ((values - mean).square() * there).sum(0) / (count - 1).clamp(min=1)


def _mean(traces: Traces, name: str) -> Tensor:
    site = node(traces.guide, name)
    mean = mean_of(site)
    return (site["value"] if mean is None else mean).double()


def _by_datum(tensor: Tensor, place: Place, plate: Plate, size: int) -> Tensor:
    """Lay out values as (S, N, numbers a datum...)."""
    axis = place.axis(plate.name)
    assert axis is not None
    return place.value(tensor, size).movedim(axis, 1)


def _rates(
    sampler: Sampler, traces: Traces, name: str, place: Place, plate: Plate
) -> Tensor | None:
    """Return log q - log p number by number, (S, numbers...), or None."""
    if name not in sampler.latents:
        return None
    value = node(traces.guide, name)["value"]
    terms = []
    for trace in (traces.guide, traces.model):
        site = node(trace, name)
        base, scale = _elementwise(site["fn"]), torch.as_tensor(scale_of(site, plate.name))
        if base is None or len(base.batch_shape) > place.nesting + 1 + place.event_dim:
            return None
        scale = scale.reshape(scale.shape + (1,) * (place.event_dim * bool(scale.dim())))
        log_prob = base.log_prob(value).double() * scale
        if (mask := mask_of(site)) is not None:
            log_prob = log_prob.where(mask, torch.zeros_like(log_prob))
        terms.append(_by_datum(log_prob, place, plate, traces.size))
    return (terms[0] - terms[1]).mean(1)


def _elementwise(fn: Any) -> Any:
    """Return the distribution of the single numbers of an event; None if there is none."""
    *_, base = layers(fn, (Independent, MaskedDistribution))
    return None if base.event_shape else base
