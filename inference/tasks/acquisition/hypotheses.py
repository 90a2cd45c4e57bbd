r"""What would be believed if a column were measured: its values, and the draws' new weights.

Columns of few classes are taken value by value, each with its probability. Of other columns H
values stand for the predictive distribution: one from each of H strata of equal probability. For a
value x_u the draws get the weights of Bayes' rule,

.. math:: w'_s \propto w_s \, p(x_u \mid z_s)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.randomness import derive
from inference.tasks.acquisition.predictor import Draws
from inference.tasks.acquisition.table import class_counts

BUDGET = 2**21
"""Numbers that one block of people may take in a table of draws by values: 8 MiB, or 16."""
IMPOSSIBLE = -1e30
"""In place of the log of 0, which times 0 is no number."""


@dataclass(frozen=True)
class State:
    """What a reward is asked about: N people, what was measured of them, and what is believed.

    Parameters
    ----------
    draws
        Of their posteriors.
    x, mask
        Values (N, D), and which of them were measured; the others reach nothing.
    seed
        Of whatever a reward draws.
    people
        Numbers of the people (N,) among all, for rewards that are random; 0 to N - 1 by default.
    """

    draws: Draws
    x: Tensor
    mask: Tensor
    seed: int = 0
    people: Tensor | None = None

    def blocks(self, numbers: int) -> Iterator[State]:
        """Yield blocks of people, so few that ``numbers`` for each stay within the budget."""
        step = max(1, BUDGET // max(numbers, 1))
        for start in range(0, len(self.x), step):
            some = slice(start, start + step)
            people = None if self.people is None else self.people[some]
            draws = self.draws.rows(some)
            yield State(draws, self.x[some], self.mask[some], self.seed, people)


@dataclass(frozen=True)
class Hypotheses:
    """Values that each column may turn out to have, and what would then be believed.

    Parameters
    ----------
    values
        (N, H, D).
    log_prob
        log p(value | z_s), (S, N, H, D), at least `IMPOSSIBLE`.
    joint
        The draws' new weights, (S, N, H, D), not normalised.
    total
        Their sums over draws, (N, H, D), at least 1.
    log_predictive
        log of the predictive density of each value, (N, H, D).
    weights
        Probabilities of the values, (N, H, D), summing to 1 over H.
    """

    values: Tensor
    log_prob: Tensor
    joint: Tensor
    total: Tensor
    log_predictive: Tensor
    weights: Tensor

    def reweighted(self, values: Tensor) -> Tensor:
        """Return the mean over draws of (S, N, K) under each value's new weights: (N, H, D, K)."""
        size, people, *rest = self.joint.shape
        flat = self.joint.permute(1, 0, 2, 3).reshape(people, size, -1)  # a view
        found = (flat.mT @ values.transpose(0, 1)).reshape(people, *rest, -1)
        return found / self.total[..., None]


def hypotheses(draws: Draws, num_values: int, seed: int) -> Hypotheses:
    """Return hypothetical values of every column, H = ``num_values`` or as many as classes."""
    counts = class_counts(draws.table)
    values = _values(draws, num_values, counts, seed)
    log_prob = draws.log_prob(values).clamp_min_(IMPOSSIBLE)
    log_weights = draws.weights.log().clamp_min_(IMPOSSIBLE)
    joint = log_prob + log_weights[..., None, None]
    top = joint.amax(0)
    joint = joint.sub_(top).exp_()
    total = joint.sum(0)
    log_predictive = top + total.log()
    weights = _outer_weights(log_predictive, counts, num_values)
    return Hypotheses(values, log_prob, joint, total, log_predictive, weights)


def _values(draws: Draws, num_values: int, counts: list[int], seed: int) -> Tensor:
    """Return (N, H, D): the classes, or values from strata."""
    size = max([num_values, *counts])
    people, dim = draws.raw.shape[1], len(counts)
    values = draws.raw.new_zeros(people, size, dim)
    strata = [d for d, count in enumerate(counts) if not count]
    if strata:
        found = stratified(draws.sample_columns(seed)[..., strata], draws.weights, num_values, seed)
        values[..., strata] = torch.cat([found, found[:, -1:].expand(-1, size - num_values, -1)], 1)
    for d, count in enumerate(counts):
        if count:
            values[..., d] = torch.arange(size).clamp(max=count - 1).to(values)
    return values


def stratified(samples: Tensor, weights: Tensor, num_values: int, seed: int) -> Tensor:
    """Return (N, H, K) of weighted samples (S, N, K): one of each of H strata of equal weight."""
    ordered, places = samples.permute(1, 2, 0).sort(-1)  # (N, K, S)
    below = weights.T[:, None].expand_as(ordered).gather(-1, places).cumsum(-1)
    generator = torch.Generator().manual_seed(derive(seed, "strata"))
    jitter = torch.rand(num_values, generator=generator, dtype=torch.float64)
    u = ((torch.arange(num_values) + jitter) / num_values).to(below)
    at = torch.searchsorted(below, u.expand(*below.shape[:-1], -1).contiguous())
    return ordered.gather(-1, at.clamp(max=samples.shape[0] - 1)).transpose(1, 2)


def _outer_weights(log_predictive: Tensor, counts: list[int], num_values: int) -> Tensor:
    """Return the probabilities of the values (N, H, D): of classes, or of strata."""
    size = log_predictive.shape[1]
    number = torch.arange(size)[:, None]
    classes = torch.tensor(counts)
    there = (number < torch.where(classes > 0, classes, num_values)).to(log_predictive.device)
    known = (classes > 0).to(log_predictive.device)
    mass = torch.where(known, log_predictive, 0.0).exp() * there
    return mass / mass.sum(1, keepdim=True)
