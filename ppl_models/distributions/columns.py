"""The distribution of a row of a table whose columns are of several kinds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from ppl_models.distributions.column_kinds import ColumnPart


class Layout(Protocol):
    """What builds the parts of a `MixedColumns` from a decoder's outputs."""

    def parts(self, raw: Tensor, kinds: Sequence[str]) -> list[ColumnPart]:
        """Return a part for each kind that has columns."""

    def places(self, kinds: Sequence[str]) -> Places:
        """Return where the columns of these kinds are."""


@dataclass(frozen=True)
class Places:
    """The columns of some kinds, in the order of the table, and where each kind finds its own.

    Attributes
    ----------
    num_columns : int
        Of these kinds.
    columns : list
        Of each kind: its columns, among these.
    order : Tensor, optional
        (D,): puts the kinds' columns, side by side, into the order of the table.
    coordinate_order : Tensor, optional
        (E,): the same for coordinates.
    """

    num_columns: int
    columns: list[Tensor | slice]
    order: Tensor | None
    coordinate_order: Tensor | None

    @classmethod
    def of(
        cls, by_kind: Sequence[Sequence[int]], widths: Sequence[int], device: torch.device
    ) -> Places:
        """Lay out kinds whose columns in the table these are; ``widths`` are their coordinates."""
        joined = [d for columns in by_kind for d in columns]
        rank = {d: at for at, d in enumerate(sorted(joined))}
        coordinates = [(d, k) for d in joined for k in range(widths[d])]
        return cls(
            len(joined),
            [_picked([rank[d] for d in columns], device) for columns in by_kind if columns],
            _sorting(joined, device),
            _sorting(coordinates, device),
        )


def _picked(where: list[int], device: torch.device) -> Tensor | slice:
    """Return what picks these columns: a view, where they are side by side."""
    if where == list(range(where[0], where[-1] + 1)):
        return slice(where[0], where[-1] + 1)
    return torch.tensor(where, device=device)


def _sorting(keys: Sequence[Any], device: torch.device) -> Tensor | None:
    """Return the order that sorts; None where nothing has to move."""
    order = sorted(range(len(keys)), key=lambda at: keys[at])
    return None if order == list(range(len(keys))) else torch.tensor(order, device=device)


class MixedColumns(TorchDistribution):
    """D independent columns, each of its own kind: batch shape (..., D).

    The columns of a kind are scored and drawn at once.

    Parameters
    ----------
    layout : Layout
        `ppl_models.likelihoods.Columns`: which columns are of which kind, and their constants.
    raw : Tensor
        A decoder's outputs (..., raw_dim).
    kinds : sequence of str
        Leave out columns of other kinds than these.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.real

    def __init__(self, layout: Layout, raw: Tensor, kinds: Sequence[str]) -> None:
        self.layout, self.raw, self.kinds = layout, raw, kinds
        self.places = layout.places(kinds)
        shape = torch.Size((*raw.shape[:-1], self.places.num_columns))
        super().__init__(shape, validate_args=False)

    @cached_property
    def parts(self) -> list[ColumnPart]:
        """A part for each kind that has columns, made when it is needed: plates expand first."""
        return self.layout.parts(self.raw, self.kinds)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether draws of every column are differentiable."""
        return all(part.continuous for part in self.parts)

    def expand(self, batch_shape: Any, _instance: Any = None) -> MixedColumns:
        """Return the same distribution with a larger batch shape (..., D)."""
        if torch.Size(batch_shape) == self.batch_shape:
            return self
        shape = (*batch_shape[:-1], self.raw.shape[-1])
        return MixedColumns(self.layout, self.raw.expand(shape), self.kinds)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of each column, in the units of the data: (..., D)."""
        found = [
            part.log_prob(value[..., at])
            for part, at in zip(self.parts, self.places.columns, strict=True)
        ]
        return _side_by_side(found, self.places.order)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw rows (*sample_shape, ..., D), differentiable in the columns where they can be."""
        shape = torch.Size(sample_shape)
        return _side_by_side([part.draw(shape) for part in self.parts], self.places.order)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw rows (*sample_shape, ..., D)."""
        with torch.no_grad():
            return self.rsample(sample_shape)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance of each coordinate (..., E), in the units of the data."""
        means, variances = zip(*(part.moments() for part in self.parts), strict=True)
        order = self.places.coordinate_order
        return _side_by_side(list(means), order), _side_by_side(list(variances), order)


def _side_by_side(parts: list[Tensor], order: Tensor | None) -> Tensor:
    """Concatenate (..., K) of every part, and put them in order."""
    if len(parts) == 1:
        return parts[0]
    joined = torch.cat(parts, -1)
    return joined if order is None else joined[..., order]
