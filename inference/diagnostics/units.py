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

from inference.tracing import Place, Plate, Sampler, Traces, layers, mean_of, node, scale_of

ACTIVE = 0.01


@dataclass(frozen=True)
class Unit:
    """One number of a latent site.

    Parameters
    ----------
    site, index
        Which: ``index`` among the numbers a datum has at this site.
    rate
        Its part of the site's rate, in nats a datum; None where guide or prior do not take the
        site's numbers one by one.
    spread
        The variance over the data of its posterior mean.
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
    """Return the units of a guide's site, from draws of the pair."""
    place = sampler.guide_places[name]
    means = torch.cat([_by_datum(_mean(t, name), place, plate, t.size) for t in num_samples])
    across, size = means.mean(0), len(means)
    spread = across.var(0) if len(across) > 1 else torch.zeros_like(across[0])
    if size > 1:  # the variance that so few draws leave in a mean is no spread over the data
        spread = (spread - means.var(0).mean(0) / size).clamp(min=0.0)
    parts = [_rates(sampler, t, name, place, plate) for t in num_samples]
    rates = None if parts[0] is None else torch.cat([p for p in parts if p is not None]).mean(0)
    indices = [tuple(i) for i in torch.ones(spread.shape).nonzero().tolist()]
    return [
        Unit(name, i, None if rates is None else float(rates[i]), float(spread[i])) for i in indices
    ]


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
        terms.append(_by_datum(log_prob, place, plate, traces.size))
    return (terms[0] - terms[1]).mean(1)


def _elementwise(fn: Any) -> Any:
    """Return the distribution of the single numbers of an event; None if there is none."""
    *outer, base = layers(fn, (Independent, MaskedDistribution))
    masked = any(getattr(layer, "_mask", True) is not True for layer in outer)
    return None if masked or base.event_shape else base
