r"""Rate and distortion: a bound taken apart, for objectives that treat its parts differently.

A bound is :math:`-(D + \sum_j R_j)`, in nats per observation: the distortion D of the observed
sites, :math:`-\log p(x \mid z)`, and the rate R of each latent one, :math:`\log q(z) - \log p(z)`
at a draw or the closed form KL(q || p).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.errors import PairError
from inference.objectives.kl import Per, divergence, divergence_parts
from inference.objectives.pair_trace import PairTrace
from inference.tracing import Term


@dataclass(frozen=True, eq=False)
class RateDistortion:
    """The terms of a bound, per observation: ``-(distortion + sum of rates)``.

    ``rates`` has of each latent site the mean KL over the batch, (J,) as it was asked for, and
    ``shares`` the part of the batch that has each of the J (1 without masks). Latents that have
    one posterior together are one entry, their names joined.
    """

    distortion: Tensor
    rates: dict[str, Tensor]
    shares: dict[str, Tensor]

    @property
    def rate(self) -> Tensor:
        """The sum of all rates: nats per observation."""
        return total(self.rates.values(), self.distortion)


def total(rates: Iterable[Tensor], like: Tensor) -> Tensor:
    """Return the sum of rates; 0 if there is none."""
    return sum((rate.sum() for rate in rates), torch.zeros_like(like))


def average(parts: Sequence[RateDistortion]) -> RateDistortion:
    """Return the mean of the terms of several draws."""
    if len(parts) == 1:
        return parts[0]
    rates = {n: torch.stack([t.rates[n] for t in parts]).mean(0) for n in parts[0].rates}
    shares = {n: torch.stack([t.shares[n] for t in parts]).mean(0) for n in parts[0].shares}
    return RateDistortion(torch.stack([t.distortion for t in parts]).mean(), rates, shares)


def rate_distortion(
    pair: PairTrace, closed_form: bool, per: Mapping[str, Per] | None = None
) -> RateDistortion:
    """Return the rates and the distortion of a draw.

    Parameters
    ----------
    pair
        The draw.
    closed_form
        Take KL divergences in closed form where there is one.
    per
        Sites whose rate is wanted in parts, and always in closed form where there is one.

    Raises
    ------
    PairError
        A site to take apart that is no latent site of both, or does not fall apart that far.
    """
    per, terms = per or {}, pair.terms
    observed = [row for row in terms.rows if row.kind == "observed"]
    latent = {row.name: row for row in terms.rows if row.kind == "latent" and row.p is not None}
    own = [row for row in terms.rows if row.kind == "latent" and row.p is None]
    _refuse_parts(per, list(latent), bool(own))
    signs = [(row.site, 1 if row.p is None else -1) for row in observed]
    distortion = sum(sign * pair.mean(terms.log_density(s), s) for s, sign in signs)
    rates: dict[str, Tensor] = {}
    shares: dict[str, Tensor] = {}
    for name, row in latent.items():
        if name in per:
            rates[name], shares[name] = _parts(pair, row, per[name])
        else:
            kl = divergence(row.q, row.p, closed_form, pair.plate)
            rates[name] = pair.mean(kl, row.site)[None]
    if own:
        alone = [pair.mean(terms.log_density(row.site), row.site) for row in own]
        pooled = torch.stack([rate.sum() for rate in rates.values()] + alone).sum(0, keepdim=True)
        rates = {" + ".join([*latent, *(row.name for row in own)]): pooled}
    return RateDistortion(torch.as_tensor(distortion), rates, shares)


def _refuse_parts(per: Mapping[str, Per], latent: list[str], pooled: bool) -> None:
    for name in per:
        if name not in latent or pooled:
            found = "one posterior for several sites" if name in latent else "no such latent site"
            raise PairError(name, found, f"one of: {', '.join(latent)}", "leave it out of sites=")


def _parts(pair: PairTrace, row: Term, per: Per) -> tuple[Tensor, Tensor]:
    """Return a site's mean rate in parts, (J,), and the share of the batch that has each."""
    values, weights = divergence_parts(row.q, row.p, True).per(per, row.q, pair.plate)
    count = pair.batch if row.name in pair.q else pair.data_size
    return values.sum(0) / count, weights.sum(0) / count
