"""Nats that a latent site may carry free of charge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch

from inference.objectives.kl import Per
from inference.objectives.rate_distortion import RateDistortion


@dataclass(frozen=True)
class FreeBits:
    r"""Rates below a threshold cost as much as the threshold: there is nothing to gain by less.

    .. math:: \sum_j \max\Big(\lambda,\ \tfrac1B \sum_b \mathrm{KL}_j(q(z \mid x_b) \| p(z))\Big)

    in place of the rate of each site (Kingma et al. 2016, "Improved variational inference with
    inverse autoregressive flow", equation 15; the mean over the batch is inside the maximum). KL
    divergences are the closed forms where there are any, whatever the objective's kind, since the
    maximum would see the noise of a draw. Where a mask hides j in part of the batch, the mean is
    over the rest, and the term counts for as much as that rest.

    Parameters
    ----------
    nats
        The threshold, lambda; 0 leaves the bound as it is: no rate is below it, though the noise
        of one at a draw may be.
    per
        What j runs over: ``"element"`` of a code; ``"step"`` of a sequence (the first of two event
        dims or more, and plates within the data plate; a vector is one step); ``"total"``, the
        whole site. Kingma et al. take groups of elements. The default is the step, the reading of
        the literature on sequences: a threshold that does not grow with the width of a code.
    sites
        Names of the latent sites it holds for, each on its own; by default all.

    Raises
    ------
    ValueError
        A threshold that is negative or not finite, or another granularity.
    """

    nats: float
    per: Per = "step"
    sites: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.nats < float("inf"):
            raise ValueError(f"nats is {self.nats}; expected a finite number of at least 0")
        if self.per not in get_args(Per):
            raise ValueError(f"per is {self.per!r}; expected one of {', '.join(get_args(Per))}")
        if self.sites is not None:
            names = (self.sites,) if isinstance(self.sites, str) else tuple(self.sites)
            object.__setattr__(self, "sites", names)

    def granularity(self, latent: tuple[str, ...]) -> dict[str, Per]:
        """Return how each site that it holds for is to be taken apart."""
        return {name: self.per for name in (latent if self.sites is None else self.sites)}

    def rates(self, terms: RateDistortion) -> dict[str, torch.Tensor]:
        """Return all rates, those with free bits at their threshold or above."""
        raised = dict(terms.rates)
        for name, share in terms.shares.items() if self.nats else ():
            rate, least = raised[name], self.nats * share
            raised[name] = torch.where(rate < least, least, rate)
        return raised
