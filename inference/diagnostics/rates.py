r"""Where the bound goes: the rate of every latent site and the distortion of every observed one.

.. math:: \mathrm{ELBO} = -\sum_{\text{observed}} D - \sum_{\text{latent}} R,
    \quad D = -E_q \log p(x \mid z), \quad R = E_q \log \frac{q(z \mid x)}{p(z)}

(Alemi et al. 2018, "Fixing a broken ELBO", section 2). A rate near zero is a latent the guide does
not use: posterior collapse. An enumerated site's posterior is exact, so its rate is
:math:`\mathrm{KL}(p(c \mid x, z) \,\|\, p(c))`; the terms of the others are expectations under it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from inference.diagnostics.table import table
from inference.tracing import (
    Sampler,
    Site,
    Terms,
    Traces,
    expected_factors,
    frame_of,
    mean_and_error,
    outside,
    sampling,
    stack_draws,
)

RowKind = Literal["rate", "distortion"]


@dataclass(frozen=True)
class Rate:
    """One row: a site (or sites that have one posterior together), and its part of the bound.

    `nats` a datum, and the standard error: over the data for a site in the data plate (`local`),
    else over the draws, which is only the noise of the estimate.
    """

    site: str
    kind: RowKind
    nats: float
    error: float
    local: bool


@dataclass(frozen=True)
class Rates:
    """The bound, site by site: ``bound == -sum(row.nats for row in rows)``, nats a datum.

    Without a data plate, `unit` is ``nats in all``.
    """

    rows: tuple[Rate, ...]
    bound: float
    error: float
    unit: str = "nats a datum"

    def __getitem__(self, site: str) -> Rate:
        """Return the row of a site.

        Raises
        ------
        KeyError
            Listing the sites there are.
        """
        for row in self.rows:
            if row.site == site:
                return row
        raise KeyError(f"{site!r}: no such row, there are {[row.site for row in self.rows]}")

    def __str__(self) -> str:
        columns = [("site", "<"), ("kind", "<10"), (self.unit, "12.4f"), ("s.e.", "8.4f")]
        outside = "(outside the data plate; s.e. over draws)" if "datum" in self.unit else ""
        rows = [(r.site, r.kind, r.nats, r.error, "" if r.local else outside) for r in self.rows]
        total = "ELBO", "", self.bound, self.error, ""
        return "\n".join(table([*columns, ("", "<")], [*rows, total]))


@dataclass(frozen=True)
class _Row:
    """A row before averaging: `values` are ``(S, B)``, or ``(S,)`` for a site outside the plate."""

    site: str
    kind: RowKind
    values: Tensor


def rates(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Any,
    num_samples: int = 100,
    seed: int = 0,
    plate: str | None = None,
    data_size: int | None = None,
    chunk: int | None = None,
    **named: Any,
) -> Rates:
    """Split the bound into the rate of each latent site and the distortion of each observed one.

    Sites that share one posterior are one row, their names joined by ``" + "``: the enumerated
    ones, and the latents of a guide that draws them all from one site (``AutoMultivariateNormal``).

    Parameters
    ----------
    model, guide, *data, **named
        Any pair, and the data, as it takes them.
    num_samples
        S, the draws that expectations are averaged over.
    seed
        Where the draws begin.
    plate
        The name of the data plate, when it is ambiguous.
    data_size
        N, when the data are a minibatch: a site outside the data plate counts 1/N a datum. By
        default the plate's own full size. A pair without a data plate counts as one datum.
    chunk
        Draws held at a time.

    Raises
    ------
    PairError, NonFiniteError
        The guide misses a site; a log density is NaN or plus infinity.
    """
    with sampling(model, guide, data, named, seed, plate) as sampler:
        size = data_size or (sampler.plate.full_size if sampler.plate else 1)
        parts = [_rows(sampler, t, size) for t in sampler.chunks(num_samples, "summed", chunk)]
    terms = [
        _Row(rows[0].site, rows[0].kind, stack_draws([row.values for row in rows]))
        for rows in zip(*parts, strict=True)
    ]
    return _table(terms, size, "nats in all" if sampler.plate is None else "nats a datum")


def _table(terms: list[_Row], size: int, unit: str) -> Rates:
    rows = []
    for term in terms:
        local = term.values.dim() == 2
        mean, error = mean_and_error(term.values.mean(0) if local else term.values / size)
        rows.append(Rate(term.site, term.kind, mean, error, local))
    bound = -sum(row.nats for row in rows)
    inside = [t.values.mean(0) for t in terms if t.values.dim() == 2]
    over = torch.stack(inside).sum(0) if inside else torch.stack([t.values for t in terms]).sum(0)
    scale = 1 if inside else size
    return Rates(tuple(rows), bound, mean_and_error(over / scale)[1], unit)


def _rows(sampler: Sampler, traces: Traces, size: int) -> list[_Row]:
    """Return the rows of some draws; what enumerated sites sum over is taken in expectation."""
    terms = traces.terms(sampler.plate)
    log_p = _expected(sampler, terms, size)
    rows = []
    for names, extra in _groups(terms):
        log_q = [_reduced(terms, terms.log_density(q), q) for q in (*names.values(), *extra)]
        rows.append(_rate(list(names), log_q, log_p, size))
    if sampler.enumerated:
        rows.append(_rate(sampler.enumerated, [log_p.pop("")], log_p, size))
    latent = {*sampler.latents, *sampler.enumerated}
    return rows + [_Row(n, "distortion", -p) for n, p in log_p.items() if n not in latent]


def _rate(names: list[str], log_q: list[Tensor], log_p: dict[str, Tensor], size: int) -> _Row:
    values = _add([*log_q, *(-log_p[n] for n in names)], size)
    return _Row(" + ".join(names), "rate", values)


def _groups(terms: Terms) -> list[tuple[dict[str, Site], list[Site]]]:
    """Pair up sites of both parts, and further guide sites, that have one posterior together."""
    drawn = {row.name: row.q for row in terms.rows if row.q is not None}
    of_model = {row.name for row in terms.rows if row.p is not None}
    shared = {n: q for n, q in drawn.items() if n in of_model}
    extra = [q for n, q in drawn.items() if n not in of_model]
    return [(shared, extra)] if extra else [({n: q}, []) for n, q in shared.items()]


def _reduced(terms: Terms, values: Tensor, site: Site) -> Tensor:
    """Reduce to ``(S, B)`` inside the data plate, and to ``(S,)`` outside."""
    return terms.reduce(values, site, joint=frame_of(site, terms.plate) is None)


def _add(values: list[Tensor], size: int) -> Tensor:
    """Sum terms; if one is outside the data plate, the others count for all `size` data."""
    if len({v.dim() for v in values}) > 1:
        values = [v.mean(1) * size if v.dim() == 2 else v for v in values]
    return torch.stack(values).sum(0)


def _expected(sampler: Sampler, terms: Terms, size: int) -> dict[str, Tensor]:
    """Return each site's expected log density; under ``""`` the enumerated sites' log posterior."""
    dense = {n: _reduced(terms, p, terms.site(n)) for n, p in terms.dense.items()}
    if not sampler.enumerated:
        return dense
    plate = sampler.plate
    shared = [n for n in terms.summed if plate and not frame_of(terms.site(n), plate.name)]
    if plate and shared and size != plate.size:
        raise outside(shared[0], plate.name)  # its posterior needs all the data, not a minibatch
    total, expected = expected_factors(terms, terms.summed, joint=bool(shared))
    found = {**dense, **expected}
    ordered = {row.name: found[row.name] for row in terms.rows if row.name in found}
    return {**ordered, "": _add(list(expected.values()), size) - total}
