"""What acquisition needs to know of a table: names of columns, their coordinates, and their units.

A categorical column has one coordinate a class (its one-hot vector), every other column has one.
`ppl_models.likelihoods.Columns` is such a description; `RealTable` is one for Gaussian models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import pyro.distributions as dist
import torch
from torch import Tensor

from ppl_models.errors import InputError, unknown


class Table(Protocol):
    """D columns with E coordinates, and the distribution of a row given a decoder's outputs."""

    @property
    def names(self) -> Sequence[str]:
        """Names of the columns."""

    @property
    def owner(self) -> Tensor:
        """The column of each coordinate, (E,)."""

    @property
    def spread(self) -> Tensor:
        """Standard deviation of each coordinate in training, the standard unit: (E,)."""

    def distribution(self, raw: Tensor) -> Any:
        """Return the distribution of rows, batch shape (..., D), for outputs (..., R).

        A `MixedColumns`, or a distribution with ``icdf``.
        """

    def moments(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of each coordinate, (..., E) each, in the units of the data."""

    def encode(self, x: Tensor) -> Tensor:
        """Return the coordinates (..., E) of values (..., D)."""


class RealTable:
    """A table of D real columns, each Normal given z: ``raw`` is (..., 2 D), means then scales.

    Parameters
    ----------
    names : sequence of str, or int
        Of the columns; a number D stands for x1 to xD.
    spread : Tensor, optional
        Standard deviations (D,) of the columns in training; by default 1.
    """

    def __init__(self, names: Sequence[str] | int, spread: Tensor | None = None) -> None:
        if isinstance(names, int):
            names = [f"x{d + 1}" for d in range(names)]
        self.names = tuple(names)
        self.owner = torch.arange(len(self.names))
        self.spread = torch.ones(len(self.names)) if spread is None else spread
        if self.spread.shape != (len(self.names),) or not bool((self.spread > 0).all()):
            found, expected = f"shape {tuple(self.spread.shape)}", "a positive number a column"
            raise InputError("spread", found, expected, "spread = x.std(0), constant columns 1")

    def distribution(self, raw: Tensor) -> dist.Normal:
        """Return Normal(means, scales), batch shape (..., D)."""
        loc, scale = raw.chunk(2, -1)
        return dist.Normal(loc, scale, validate_args=False)

    def moments(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and variances (..., D)."""
        loc, scale = raw.chunk(2, -1)
        return loc, scale.square()

    def encode(self, x: Tensor) -> Tensor:
        """Return the values themselves."""
        return x


def class_counts(table: Table) -> list[int]:
    """Return how many values each column can take; 0 where that is no small number."""
    columns = getattr(table, "columns", None)
    if columns is None:
        return [0] * len(table.names)
    return [column.num_classes for column in columns]


def column_indices(table: Table, columns: Sequence[str | int], argument: str) -> tuple[int, ...]:
    """Return the places of columns given by name or by number.

    Raises
    ------
    InputError
        There is no such column, or one is given twice.
    """
    names, found = list(table.names), []
    for column in columns:
        if isinstance(column, str):
            if column not in names:
                raise unknown(argument, column, names)
            found.append(names.index(column))
        elif 0 <= int(column) < len(names):
            found.append(int(column))
        else:
            expected = f"a name, or a number from 0 to {len(names) - 1}"
            raise InputError(argument, str(column), expected, f"there are {len(names)} columns")
    if len(set(found)) < len(found):
        raise InputError(argument, f"{list(columns)}", "each once", "leave out the second one")
    return tuple(found)


def column_sums(table: Table, values: Tensor) -> Tensor:
    """Add up the coordinates (..., E) of each column: (..., D)."""
    owner = table.owner.to(values.device)
    total = values.new_zeros(*values.shape[:-1], len(table.names))
    return total.index_add(-1, owner, values)


def squared_units(table: Table, units: str, like: Tensor) -> Tensor:
    """Return the square of the unit of each coordinate (E,): standard, or that of the data.

    Raises
    ------
    InputError
        Other units.
    """
    if units not in ("standard", "data"):
        cure = "standard where columns differ in kind, data where all share a unit"
        raise InputError("units", repr(units), '"standard" or "data"', cure)
    spread = table.spread.to(like)
    return spread.square() if units == "standard" else torch.ones_like(spread)
