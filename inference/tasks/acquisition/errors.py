"""Errors of a prediction: those that are made, and those that the draws expect."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from inference.tasks.acquisition.curve import LEVELS
from inference.tasks.acquisition.predictor import Draws, filled
from inference.tasks.acquisition.rewards import Units
from inference.tasks.acquisition.table import Table, column_sums, squared_units


@dataclass(frozen=True)
class Truth:
    """What predictions are judged by.

    Parameters
    ----------
    x
        Measured values (N, D), any number where there is none.
    coordinates
        Of the truth (N, E), and of the measured values (N, E).
    measured
    exists
        (N, D): which columns are judged.
    unit
        Squared units of coordinates, (E,).
    noise_free
        Whether the truth is other than what is measured.
    """

    x: Tensor
    coordinates: Tensor
    measured: Tensor
    exists: Tensor
    unit: Tensor
    noise_free: bool

    @classmethod
    def of(
        cls, table: Table, x: Tensor, truth: Tensor | None, exists: Tensor, units: Units
    ) -> Truth:
        """Return what to judge predictions of x by: the truth, by default x itself."""
        x = filled(x, exists)
        aim = x if truth is None else filled(truth, exists)
        unit = squared_units(table, units, x)
        return cls(x, table.encode(aim), table.encode(x), exists, unit, truth is not None)

    def rows(self, some: slice) -> Truth:
        """Return those of some people."""
        parts = ("x", "coordinates", "measured", "exists")
        return replace(self, **{name: getattr(self, name)[some] for name in parts})

    def rmse(self, table: Table, apart: Tensor) -> Tensor:
        """Return the root mean square over the judged columns of differences (..., N, E)."""
        squares = column_sums(table, apart.square() / self.unit)
        total = torch.where(self.exists, squares, 0.0).sum(-1)
        return (total / self.exists.sum(-1).clamp_min(1)).sqrt()


class Scored(NamedTuple):
    """A step of a curve, of N people: see `Curve`."""

    rmse: Tensor
    nll: Tensor
    variance: Tensor
    bound: Tensor
    quantiles: Tensor


def score(draws: Draws, truth: Truth, known: Tensor, seed: int) -> Scored:
    """Judge a prediction given the columns in ``known`` (N, D)."""
    table = draws.table
    held = known[:, table.owner.to(known.device)]
    guess = torch.where(held, truth.measured, draws.expected)
    nats = draws.log_prob(truth.x)
    nll = -draws.average(torch.where(truth.exists, nats, 0.0).sum(-1))
    spread = column_sums(table, (draws.aleatoric + draws.epistemic) / truth.unit)
    variance = torch.where(known, 0.0, spread).mean(-1)
    errors = expected_errors(draws, truth, guess, held, seed)
    quantiles = weighted_quantiles(errors, draws.weights, LEVELS)
    return Scored(
        truth.rmse(table, guess - truth.coordinates), nll, variance, draws.bound, quantiles
    )


def expected_errors(draws: Draws, truth: Truth, guess: Tensor, held: Tensor, seed: int) -> Tensor:
    """Return the RMSE (S, N) if each draw were the truth: what can be known of it beforehand."""
    if truth.noise_free:
        return truth.rmse(draws.table, guess - draws.mean)
    values = draws.table.encode(draws.sample_columns(seed))
    return truth.rmse(draws.table, torch.where(held, 0.0, guess - values))


def weighted_quantiles(values: Tensor, weights: Tensor, levels: tuple[float, ...]) -> Tensor:
    """Return the quantiles (N, Q) of weighted numbers (S, N)."""
    ordered, places = values.T.sort(-1)
    below = weights.T.gather(-1, places).cumsum(-1)
    wanted = torch.tensor(levels).to(below).expand(len(below), -1).contiguous()
    at = torch.searchsorted(below, wanted).clamp(max=len(values) - 1)
    return ordered.gather(-1, at)
