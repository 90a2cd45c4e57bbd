r"""The normaliser of a density known up to it, by annealed importance sampling.

From a base whose normaliser is known, chains are led over many densities in between to the one
asked for; each carries a weight whose mean is the ratio of the two normalisers, whatever the length
of the way (Neal, "Annealed Importance Sampling", Statistics and Computing 11, 2001; for restricted
Boltzmann machines: Salakhutdinov and Murray, "On the Quantitative Analysis of Deep Belief
Networks", ICML 2008, section 4). The log of that mean is too low on average, so that a density made
with it looks better than it is; a long way, and the error below, keep that small.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.randomness import derive, seeded


@dataclass(frozen=True)
class LogPartition:
    """An estimate of log C, in nats.

    ``error`` is the standard error over chains (of the log of the mean weight, by the delta
    method); ``ess`` the number of chains that count. An error of 0.1 from an ``ess`` of a few is
    not to be trusted: go by more temperatures.
    """

    value: float
    error: float
    ess: float

    def __str__(self) -> str:
        return f"log C = {self.value:.2f} ± {self.error:.2f} ({self.ess:.0f} chains count)"


@torch.no_grad()
def annealed_log_partition(
    model: Any, *, temperatures: int = 1000, chains: int = 100, seed: int = 0
) -> LogPartition:
    """Estimate log C of a model from a base that it knows.

    Parameters
    ----------
    model
        Has ``at(heat)``, from 0, the base, to 1, itself: modules with ``free_energy(x)`` and
        ``transition(x)``; at 0 one transition must draw from the base wherever it begins. And
        ``base_log_partition()``, and ``data_dim``.
    temperatures
        Densities on the way.
    chains
        Independent ways.
    seed
        Where the draws begin.
    """
    if temperatures < 2 or chains < 2:
        raise ValueError(f"temperatures={temperatures}, chains={chains}; expected 2 or more each")
    base = model.base_log_partition()
    with seeded(derive(seed, "annealing")):
        last = model.at(0.0)
        x = last.transition(base.new_zeros(chains, model.data_dim))
        log_weight = torch.zeros(chains, dtype=torch.float64)
        for heat in torch.linspace(0, 1, temperatures + 1)[1:].tolist():
            here = model.at(heat)
            log_weight += (last.free_energy(x) - here.free_energy(x)).double()
            x, last = here.transition(x), here
    return _summary(base.double(), log_weight)


def _summary(base: Tensor, log_weight: Tensor) -> LogPartition:
    count = len(log_weight)
    weight = (log_weight - log_weight.max()).exp()
    value = base + log_weight.logsumexp(0) - math.log(count)
    error = weight.std() / weight.mean() / math.sqrt(count)
    ess = weight.sum() ** 2 / weight.square().sum()
    return LogPartition(value.item(), error.item(), ess.item())
