r"""Which detection is of which object: the laws of counts and assignments in one frame.

S objects are seen; clutter is Poisson(lambda) in number; the K detections come in random order.

* `Independent`, the paper's w_tk: an object gives Poisson(rate) detections, so that
  K ~ Poisson(rate S + lambda), and each detection by itself is of object n with probability
  rate / (rate S + lambda), or clutter.
* `Exclusive`: an object gives one detection with probability p, or none, so that
  K ~ Binomial(S, p) + Poisson(lambda). A matching of m objects with m of the K detections has

.. math::
    p(\mathrm{matching} \mid K) \propto
    \left(\frac{p}{(1 - p) \lambda}\right)^m, \qquad
    \sum_{\mathrm{matchings}} p^m (1 - p)^{S - m} e^{-\lambda} \lambda^{K - m} / K! = p(K).

All matchings are listed: for tiny cases, and as what `propagate_beliefs` is tested against.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations, permutations

import torch
from pyro.distributions import Categorical, Poisson, TorchDistribution, constraints
from torch import Tensor

from ppl_models.errors import InputError
from ppl_models.mot.life import NEVER

MOST_MATCHINGS = 20_000
"""In a list of all of them; 5 objects and 5 detections have 1,546."""


class Independent:
    """Counts and assignments where an object may give several detections.

    Parameters
    ----------
    rate : float
        Expected detections of an object that is seen.
    clutter_rate : float
        lambda: expected detections a frame that are of no object.
    """

    def __init__(self, rate: float, clutter_rate: float) -> None:
        self.rate, self.clutter_rate = rate, clutter_rate

    def count(self, seen: Tensor) -> Poisson:
        """Return the law of K, given which objects are seen: 0 or 1 (..., N) -> batch (...)."""
        return Poisson(self.clutter_rate + self.rate * seen.sum(-1))

    def assignment(self, seen: Tensor) -> Categorical:
        """Return the law of w: object 0, ..., N - 1, or N for clutter; batch (...)."""
        rates = NEVER + seen * ((math.log(self.rate) if self.rate else NEVER) - NEVER)
        clutter = torch.full_like(rates[..., :1], math.log(self.clutter_rate))
        return Categorical(logits=torch.cat([rates, clutter], -1))


class Exclusive:
    """Counts and matchings where an object gives at most one detection.

    Parameters
    ----------
    detection : float
        p: probability that an object that is seen is detected, below 1.
    clutter_rate : float
        lambda: expected detections a frame that are of no object.
    """

    def __init__(self, detection: float, clutter_rate: float) -> None:
        self.detection, self.clutter_rate = detection, clutter_rate

    def count(self, seen: Tensor) -> DetectedAndClutter:
        """Return the law of K, given which objects are seen: 0 or 1 (..., N) -> batch (...)."""
        return DetectedAndClutter(seen.sum(-1), seen.shape[-1], self.detection, self.clutter_rate)

    def assignment(self, seen: Tensor, mask: Tensor) -> Categorical:
        """Return the law of a matching, an index of `matchings`, given K; batch (...).

        Parameters
        ----------
        seen : Tensor
            (..., N), 0 or 1: which objects are seen.
        mask : Tensor
            (..., K) bool: which places hold a detection; batch dims broadcast.
        """
        w = matchings(seen.shape[-1], mask.shape[-1]).to(seen.device)  # (M, K)
        objects = torch.arange(seen.shape[-1], device=seen.device)
        used = (w[..., None] == objects).any(-2)  # (M, N)
        filled = w < seen.shape[-1]  # (M, K)
        bad = (used & (seen[..., None, :] == 0)).any(-1) | (filled & ~mask[..., None, :]).any(-1)
        odds = NEVER
        if self.detection:
            odds = math.log(self.detection / (1 - self.detection) / self.clutter_rate)
        logits = odds * used.sum(-1).to(seen)
        return Categorical(logits=torch.where(bad, NEVER, logits))


class DetectedAndClutter(TorchDistribution):
    """K ~ Binomial(S, p) + Poisson(lambda), for numbers S (...) of at most N."""

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.nonnegative_integer

    def __init__(self, trials: Tensor, most: int, p: float, rate: float) -> None:
        self.trials, self.most, self.p, self.rate = trials, most, p, rate
        super().__init__(trials.shape, validate_args=False)

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> DetectedAndClutter:
        """Return the same distribution in each place of a larger batch."""
        return DetectedAndClutter(self.trials.expand(batch_shape), self.most, self.p, self.rate)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Draw counts (sample_shape, batch)."""
        trials = self.trials.expand(*sample_shape, *self.batch_shape)
        each = torch.rand(*trials.shape, self.most, device=trials.device) < self.p
        exists = torch.arange(self.most, device=trials.device) < trials[..., None]
        clutter = torch.poisson(torch.full_like(trials, self.rate))
        return (each & exists).sum(-1) + clutter

    def log_prob(self, value: Tensor) -> Tensor:
        """Score counts (...): the sum over how many are of objects."""
        trials = self.trials[..., None]
        m = torch.arange(self.most + 1, device=trials.device).to(trials)
        rest = value[..., None] - m
        possible = (m <= trials) & (rest >= 0)
        left, rest = (trials - m).clamp(min=0), rest.clamp(min=0)
        ways = torch.lgamma(trials + 1) - torch.lgamma(left + 1) - torch.lgamma(m + 1)
        binomial = ways + torch.xlogy(m, m.new_tensor(self.p))
        binomial = binomial + torch.xlogy(left, m.new_tensor(1 - self.p))
        poisson = rest * math.log(self.rate) - self.rate - torch.lgamma(rest + 1)
        return torch.where(possible, binomial + poisson, NEVER).logsumexp(-1)


@lru_cache(maxsize=64)
def matchings(objects: int, places: int) -> Tensor:
    """Return all partial matchings, (M, K) int: the object of each place, N where it is clutter.

    Raises
    ------
    InputError
        There are more than `MOST_MATCHINGS`.
    """
    sizes = range(min(objects, places) + 1)
    number = sum(math.comb(objects, m) * math.perm(places, m) for m in sizes)
    if number > MOST_MATCHINGS:
        found = f"{number:,} matchings of {objects} objects and {places} detections"
        cure = "take exclusive=False, or a tracker that propagates beliefs"
        raise InputError("exclusive", found, f"at most {MOST_MATCHINGS:,}", cure)
    rows = []
    for m in sizes:
        for chosen in combinations(range(objects), m):
            for spots in permutations(range(places), m):
                row = [objects] * places
                for n, k in zip(chosen, spots, strict=True):
                    row[k] = n
                rows.append(row)
    return torch.tensor(rows, dtype=torch.long).reshape(len(rows), places)
