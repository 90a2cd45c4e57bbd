"""Rewards: what it is worth to measure a column next, for every person and every column.

A reward takes a `State` and returns a number for each person and column, (N, D); the largest is
measured next. What is said of columns that were measured already does not matter.

====================  ==============================================================
`Variance`            how unsure one is of the column: in all, or without its noise
`Information`         nats that the column tells about the latent z
`TargetInformation`   nats that it tells about some target columns, from the draws
`EDDI`                the same by the guide's posteriors: the reward of Ma et al. 2019
`LookAhead`           by how much the squared error falls once it is measured
`RandomOrder`         nothing: a column by lot
`FixedOrder`          a place in one order for everybody
====================  ==============================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from inference.randomness import derive
from inference.tasks.acquisition.hypotheses import State
from inference.tasks.acquisition.table import column_indices, column_sums, squared_units
from ppl_models.errors import InputError

Units = Literal["standard", "data"]


class Reward(Protocol):
    """What a measurement is worth."""

    name: str
    targets: tuple[str | int, ...]
    """Columns that are to be predicted, and are not themselves to be measured."""

    def __call__(self, state: State) -> Tensor:
        """Return the worth of each column for each person, (N, D)."""


class Variance:
    """The predictive variance of the column: measure what one is least sure of.

    Parameters
    ----------
    of : "total", "aleatoric" or "epistemic"
        All of it; E_z[Var(x | z)], the noise, which a measurement of this column alone resolves; or
        Var_z(E[x | z]), what z leaves open, which other columns may resolve as well.
    units : "standard" or "data"
        In the units of the data a column counts more the wider it is.

    Raises
    ------
    InputError
        Another part of the variance.
    """

    targets: tuple[str | int, ...] = ()

    def __init__(
        self,
        of: Literal["total", "aleatoric", "epistemic"] = "total",
        units: Units = "standard",
    ) -> None:
        if of not in ("total", "aleatoric", "epistemic"):
            expected = '"total", "aleatoric" or "epistemic"'
            raise InputError("of", repr(of), expected, 'of="total", the variance of the prediction')
        self.of, self.units = of, units
        self.name = "variance" if of == "total" else f"{of} variance"

    def __call__(self, state: State) -> Tensor:
        """Return the variance of each column for each person, (N, D)."""
        draws = state.draws
        parts = {"aleatoric": draws.aleatoric, "epistemic": draws.epistemic}
        variance = sum(parts.values()) if self.of == "total" else parts[self.of]
        unit = squared_units(draws.table, self.units, draws.raw)
        return column_sums(draws.table, variance / unit)


class RandomOrder:
    """A column by lot for every person, from the state's seed and the person's number."""

    name = "random"
    targets: tuple[str | int, ...] = ()

    def __call__(self, state: State) -> Tensor:
        """Return random numbers (N, D)."""
        people, dim = len(state.x), len(state.draws.table.names)
        number = torch.arange(people) if state.people is None else state.people.cpu()
        rng = np.random.default_rng(derive(state.seed, "random order"))
        table = rng.random((int(number.max()) + 1, dim))
        return torch.from_numpy(table)[number].to(state.x)


class FixedOrder:
    """One order for everybody.

    Parameters
    ----------
    order : sequence of str or int
        Columns, the first first; those that are not in it come last, in the order of the table.
    """

    name = "fixed"
    targets: tuple[str | int, ...] = ()

    def __init__(self, order: Sequence[str | int]) -> None:
        self.order = tuple(order)

    def __call__(self, state: State) -> Tensor:
        """Return the same numbers for all people, (N, D): the first column has the largest."""
        places = column_indices(state.draws.table, self.order, "order")
        dim = len(state.draws.table.names)
        rest = [d for d in range(dim) if d not in places]
        worth = state.x.new_empty(dim)
        worth[torch.tensor([*places, *rest], dtype=torch.long)] = torch.arange(dim, 0, -1).to(worth)
        return worth.expand(len(state.x), -1)
