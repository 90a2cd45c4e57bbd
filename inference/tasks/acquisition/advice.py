"""What is expected of one person's other columns, how sure that is, and what to measure next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.randomness import derive
from inference.tasks.acquisition.errors import Truth, expected_errors, weighted_quantiles
from inference.tasks.acquisition.hypotheses import State
from inference.tasks.acquisition.look_ahead import LookAhead
from inference.tasks.acquisition.predictor import Draws, Predictor, check_people, filled
from inference.tasks.acquisition.rewards import Reward
from inference.tasks.acquisition.table import class_counts, column_indices, column_sums
from ppl_models.errors import InputError

TAILS = (0.1, 0.9)
"""The ends of an 80 % interval."""


@dataclass(frozen=True)
class Expected:
    """What is known of a column of one person.

    Parameters
    ----------
    name
    measured
        Whether the value is a measurement.
    value
        The measured value, else the mean; of a column of classes its most probable class.
    low, high
        The 80 % interval; of a column of classes None.
    probability
        Of the class; of a column of numbers None.
    gain
        Share of the expected squared error, over all columns in standard units, that measuring it
        would take away; 0 where it was measured.
    """

    name: str
    measured: bool
    value: float
    low: float | None = None
    high: float | None = None
    probability: float | None = None
    gain: float = 0.0


@dataclass(frozen=True)
class Advice:
    """What is expected, and what to do next.

    Parameters
    ----------
    columns
        In the order of the table.
    next
        The column to measure next; None where nothing is left.
    rmse
        Root of the expected squared error over all columns, in standard units.
    errors
        The RMSE that is to be expected: draws (S,), and their weights.
    """

    columns: tuple[Expected, ...]
    next: str | None
    rmse: float
    errors: tuple[Tensor, Tensor]

    def sure(self, threshold: float) -> float:
        """Return the probability that the RMSE over all columns is below a threshold."""
        values, weights = self.errors
        return float(weights[values < threshold].sum())

    def __getitem__(self, name: str) -> Expected:
        """Return what is known of a column, by name."""
        return next(column for column in self.columns if column.name == name)


@torch.no_grad()
def advise(
    predictor: Predictor,
    x: Tensor,
    mask: Tensor,
    *,
    reward: Reward | None = None,
    acquirable: tuple[str | int, ...] | None = None,
    num_samples: int = 500,
    seed: int = 0,
) -> Advice:
    """Say what is expected of one person's columns, and which one to measure next.

    Parameters
    ----------
    predictor
    x, mask
        The person's values and which of them were measured, (D,) each.
    reward
        By which the next column is chosen; by default `LookAhead`, the expected error.
    acquirable
        Columns that can be measured; by default all but the reward's targets.
    num_samples
        Draws of the posterior.
    seed

    Raises
    ------
    InputError
        x or mask is not of one person, a measured value is no number, or a column is not in the
        table.
    """
    table = predictor.table
    dim = len(table.names)
    for name, given in (("x", x), ("mask", mask)):
        if given.shape != (dim,):
            cure = "give one person's: x[0], mask[0]"
            raise InputError(name, f"shape {tuple(given.shape)}", f"({dim},)", cure)
    x, mask = x[None], mask[None]
    check_people(table, x, mask)
    draws = predictor.draws(x, mask, num_samples, seed)
    state = State(draws, x, mask, derive(seed, "reward"))
    truth = Truth.of(table, x, None, torch.ones_like(mask), "standard")
    gains, total = LookAhead()(state)[0], _expected_square(draws, truth, mask)
    worth = gains if reward is None else reward(state)[0]
    free = _free(predictor, () if reward is None else reward.targets, acquirable, mask[0])
    chosen = None
    if bool(free.any()):
        chosen = table.names[int(torch.where(free, worth, -torch.inf).argmax())]
    shares = torch.where(mask[0], 0.0, gains / max(total, 1e-30)).clamp(0, 1)
    held = mask[:, table.owner.to(mask.device)]
    guess = torch.where(held, truth.measured, draws.expected)
    errors = expected_errors(draws, truth, guess, held, derive(seed, "errors"))[:, 0]
    columns = _columns(draws, x, mask, shares, derive(seed, "values"))
    return Advice(columns, chosen, (total / dim) ** 0.5, (errors, draws.weights[:, 0]))


def _free(predictor: Predictor, targets: Any, acquirable: Any, measured: Tensor) -> Tensor:
    """Return which columns may be measured next, (D,)."""
    table = predictor.table
    free = torch.ones_like(measured)
    if acquirable is not None:
        free[:] = False
        free[list(column_indices(table, acquirable, "acquirable"))] = True
    free[list(column_indices(table, targets, "targets"))] = False
    return free & ~measured


def _expected_square(draws: Draws, truth: Truth, mask: Tensor) -> float:
    """Return the expected squared error, summed over columns, in standard units."""
    spread = column_sums(draws.table, (draws.aleatoric + draws.epistemic) / truth.unit)
    return float(torch.where(mask, 0.0, spread).sum())


def _columns(
    draws: Draws, x: Tensor, mask: Tensor, gains: Tensor, seed: int
) -> tuple[Expected, ...]:
    """Describe each column."""
    table = draws.table
    values = draws.sample_columns(seed)[:, 0]
    weights = draws.weights[:, :1].expand_as(values)
    ends = weighted_quantiles(values, weights, TAILS)
    owner, expected = table.owner.tolist(), draws.expected[0]
    given = filled(x, mask)[0]
    found = []
    for d, (name, classes) in enumerate(zip(table.names, class_counts(table), strict=True)):
        gain = float(gains[d])
        if bool(mask[0, d]):
            found.append(Expected(name, True, float(given[d])))
        elif classes:
            shares = [float(draws.weights[values[:, d] == k, 0].sum()) for k in range(classes)]
            best = max(range(classes), key=shares.__getitem__)
            found.append(Expected(name, False, best, probability=shares[best], gain=gain))
        else:
            low, high = ends[d].tolist()
            mean = float(expected[owner.index(d)])
            found.append(Expected(name, False, mean, low, high, gain=gain))
    return tuple(found)
