r"""Each draw of a guide under the posteriors of all data: what the aggregated posterior is made of.

.. math:: q(z) = \frac1N \sum_j q(z \mid x_j), \qquad
    I_q(x; z) = E_i E_{q(z \mid x_i)} \log \frac{q(z \mid x_i)}{q(z)}

with the N given data for the population. All N densities of a draw are asked of the guide itself,
so that whatever it does with its own earlier draws is heard. Of sequences that end at different
frames, a draw is compared with the data of its own length: a density of fewer frames is another
quantity, and which frames there are is given, as a covariate is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from pyro import poutine
from pyro.poutine.guide import GuideMessenger
from torch import Tensor

from inference.errors import PairError
from inference.tracing import (
    Place,
    Plate,
    Sampler,
    Traces,
    is_delta,
    is_deterministic,
    is_observed,
    node,
    sample_sites,
    to_plate,
    unscaled_log_density,
)

_BUDGET = 4_000_000  # numbers of latents that one chunk compares
_SAME = 1e-4  # of 1 + |log density|: what two runs at the same values may differ by


@dataclass(frozen=True)
class Contrast:
    """Log ratios of a draw's own posterior and the aggregated one, ``(S, N)``, double precision.

    `all` compares with the mean over all N data, `others` with the mean over the other N - 1. Of
    data with masks, those whose masks are the datum's own; `peers` (N,) says how many these are.
    """

    all: Tensor
    others: Tensor
    peers: Tensor


def local_plate(sampler: Sampler) -> Plate:
    """Return the data plate of a pair that has an aggregated posterior.

    Raises
    ------
    PairError
        There is no data plate; or the guide is a handler around the model.
    """
    if isinstance(poutine.unwrap(sampler.guide), GuideMessenger):
        cure = "write the guide as a function or a module of its own"
        found = "a guide that is a handler around the model"
        raise PairError(None, found, "a guide that runs alone, at given values", cure)
    if sampler.plate is None:
        raise PairError(
            None,
            "no plate over the data",
            "latents in a data plate, so that each datum has its own posterior",
            'write `with pyro.plate("data", len(x), dim=-1):` around what is there once a datum',
        )
    return sampler.plate


def drawn_sites(sampler: Sampler, names: Sequence[str] | None) -> list[str]:
    """Return the guide's sites that have a density to compare, in their order.

    Parameters
    ----------
    names
        Those to take; by default all of them.

    Raises
    ------
    PairError
        A name is no such site, or a site is not in the data plate.
    """
    plate, trace = local_plate(sampler), sampler.traces(None).guide
    drawn = [
        n
        for n, s in sample_sites(trace).items()
        if not is_deterministic(s) and not is_observed(s) and not is_delta(s)
    ]
    for name in names or ():
        if name not in drawn:
            found, expected = "no site that the guide draws", f"some of {drawn}"
            raise PairError(name, found, expected, "take one of these")
    chosen = [name for name in drawn if names is None or name in names]
    if not chosen:
        found, expected = "no random draw in the guide", "a site with a density"
        raise PairError(None, found, expected, "sample the latents from a distribution")
    for name in chosen:
        if sampler.guide_places[name].axis(plate.name) is None:
            raise PairError(
                name,
                f"a latent outside the data plate {plate.name!r}",
                "latents of each datum: what all data share says nothing of one of them",
                "draw it in the plate, or look at the others alone: "
                "mutual_information(..., site='...')",
            )
    return chosen


def contrasts(
    sampler: Sampler, traces: Traces, groups: Sequence[Sequence[str]], chunk: int | None = None
) -> list[Contrast]:
    """Compare each draw's posterior with the aggregated one, for groups of sites together.

    Parameters
    ----------
    sampler, traces
        The pair, and draws of it.
    groups
        Names of guide sites; each site's ancestors in the guide must be in its group.
    chunk
        Draws compared at a time with all N data; by default as many as a fixed budget allows.

    Raises
    ------
    PairError
        A group depends on a site that is not in it.
    """
    size = local_plate(sampler).size
    peers = [alike(sampler, group) for group in groups]
    parts: list[list[tuple[Tensor, Tensor]]] = [[] for _ in groups]
    for start, densities in _pairwise(sampler, traces, {n for g in groups for n in g}, chunk):
        rows = torch.arange(len(next(iter(densities.values()))))
        own = (start + rows) % size
        for part, group, same in zip(parts, groups, peers, strict=True):
            log_q = torch.stack([densities[n] for n in group]).sum(0)
            part.append(_ratios(log_q, rows, own, same.to(log_q.device)))
    shape = traces.size, size
    joined = ([torch.cat(column) for column in zip(*part, strict=True)] for part in parts)
    return [
        Contrast(ours.reshape(shape), others.reshape(shape), same.sum(1))
        for (ours, others), same in zip(joined, peers, strict=True)
    ]


def alike(sampler: Sampler, names: Sequence[str]) -> Tensor:
    """Return which data have the same numbers of some latent sites, (N, N): all, without masks."""
    plate = local_plate(sampler)
    same = torch.ones(plate.size, plate.size, dtype=torch.bool)
    for name in names:
        if (mask := sampler.mask(name)) is not None:
            axis = sampler.guide_places[name].axis(plate.name)
            assert axis is not None
            kinds = mask.movedim(axis - 1, 0).flatten(1).unique(dim=0, return_inverse=True)[1]
            same = same & (kinds[:, None] == kinds).cpu()
    return same


def _ratios(log_q: Tensor, rows: Tensor, own: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    mine, count = log_q[rows, own], same[own].sum(1)
    log_q = log_q.masked_fill(~same[own], -torch.inf)
    together = mine - (log_q.logsumexp(1) - count.log())
    log_q[rows, own] = -torch.inf
    others = log_q.logsumexp(1) - (count - 1).log()
    return together, torch.where(count > 1, mine - others, mine * torch.nan)


def _pairwise(
    sampler: Sampler, traces: Traces, names: set[str], chunk: int | None
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Yield, chunk by chunk, the first row and log q (C, N) of rows of draws under all data."""
    plate = local_plate(sampler)
    values = {n: _rows(traces, n, plate) for n in names}
    count, numbers = traces.size * plate.size, sum(v[0].numel() for v in values.values())
    alone = not sampler.vectorised
    step = 1 if alone else chunk or max(1, _BUDGET // (plate.size * numbers))
    for start in range(0, count, step):
        some = {n: v[start : start + step] for n, v in values.items()}
        densities = _under_all(sampler, some, plate, alone)
        if start == 0:
            _refuse_dependence(densities, _under_all(sampler, some, plate, alone))
        yield start, densities


def _rows(traces: Traces, name: str, plate: Plate) -> Tensor:
    """Return a site's draws, one row for each draw and datum: (S N, plates without data, event)."""
    place = traces.guide_places[name]
    aligned = place.align(node(traces.guide, name)["value"], place.event_dim)
    aligned = aligned.expand(traces.size, *aligned.shape[1:])
    return _spread(aligned, place, plate).movedim(_axis(place, plate), 1).flatten(0, 1)


def _under_all(
    sampler: Sampler, rows: dict[str, Tensor], plate: Plate, alone: bool
) -> dict[str, Tensor]:
    """Return log q (C, N) of each row of values for each datum, site by site."""
    size = len(next(iter(rows.values())))
    fixed = {n: _for_all(v, sampler.guide_places[n], plate, alone) for n, v in rows.items()}
    guide = poutine.condition(sampler.guide, data=fixed)
    trace = sampler.run(guide, None if alone else size)
    sites = {n: node(trace, n) for n in rows}
    return {
        n: to_plate(unscaled_log_density(s).double(), s, plate.name, size, sampler.nesting)
        for n, s in sites.items()
    }


def _for_all(rows: Tensor, place: Place, plate: Plate, alone: bool) -> Tensor:
    """Give rows (C, ...) to every datum, in the layout that the guide's own values have."""
    value = _spread(rows.unsqueeze(_axis(place, plate)), place, plate)
    return value.reshape(place.shape) if alone else value


def _spread(value: Tensor, place: Place, plate: Plate) -> Tensor:
    """Repeat a value along the data plate, where it is not there for each datum already."""
    shape = [-1] * value.dim()
    shape[_axis(place, plate)] = plate.size
    return value.expand(shape)


def _axis(place: Place, plate: Plate) -> int:
    return place.nesting + 1 + plate.dim


def _refuse_dependence(once: dict[str, Tensor], again: dict[str, Tensor]) -> None:
    """Refuse sites whose densities change though the values are the same."""
    for name, first in once.items():
        if not torch.allclose(first, again[name], rtol=_SAME, atol=_SAME, equal_nan=True):
            raise PairError(
                name,
                "a posterior that changes with other draws of the guide",
                "sites that depend on no other draw, or these sites as well",
                "ask for the sites together: site=None, or a tuple with the sites it depends on",
            )
