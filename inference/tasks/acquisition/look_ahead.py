r"""One step of look-ahead: by how much the squared error falls once a column is measured.

For every column u, hypothetical values x_u come from the draws, each value gives the draws new
weights and so a new prediction of every other column e. By the law of total variance

.. math:: E_{x_u}[\mathrm{Var}(x_e \mid x_u)]
          = \mathrm{Var}(x_e) - \mathrm{Var}_{x_u}(E[x_e \mid x_u])

so what is gained is how far the new predictions differ from one another; and of the column itself,
once it is known, all of its variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from inference.tasks.acquisition.hypotheses import State, hypotheses
from inference.tasks.acquisition.rewards import Units
from inference.tasks.acquisition.table import (
    class_counts,
    column_indices,
    column_sums,
    squared_units,
)
from ppl_models.errors import InputError
from ppl_models.inputs import check_count


class LookAhead:
    """The expected reduction of the squared error, summed over columns, by one measurement.

    Parameters
    ----------
    targets : sequence of str or int
        Columns whose error counts; by default all.
    error : "values" or "means"
        Of the values that would be measured: a measured column has none. Or of what they would be
        without noise: a measured column keeps its noise.
    units : "standard" or "data"
        In which errors of different columns are added.
    num_values : int
        Hypothetical values of a column, H. A column of few classes has them all.

    Raises
    ------
    InputError
        Another kind of error, or no hypothetical value.
    """

    def __init__(
        self,
        targets: Sequence[str | int] = (),
        *,
        error: Literal["values", "means"] = "values",
        units: Units = "standard",
        num_values: int = 24,
    ) -> None:
        check_count("num_values", num_values)
        if error not in ("values", "means"):
            cure = "means if the truth is known without noise, otherwise values"
            raise InputError("error", repr(error), '"values" or "means"', cure)
        self.targets, self.error = tuple(targets), error
        self.units, self.num_values, self.name = units, num_values, "lookahead"

    def __call__(self, state: State) -> Tensor:
        """Return the expected reduction (N, D), in squared units."""
        table = state.draws.table
        size = max(self.num_values, *class_counts(table)) * len(table.names) * len(state.draws.raw)
        return torch.cat([self._block(part) for part in state.blocks(size)])

    def _block(self, state: State) -> Tensor:
        draws = state.draws
        unit = squared_units(draws.table, self.units, draws.raw)
        asked = hypotheses(draws, self.num_values, state.seed)
        spread = asked.reweighted(draws.mean / unit.sqrt())  # (N, H, D, E)
        weights = asked.weights[..., None]
        centre = (weights * spread).sum(1, keepdim=True)
        gain = (weights * (spread - centre).square()).sum(1)  # (N, D, E)
        return self._own(state, unit) + (gain * self._counts(state)).sum(-1)

    def _own(self, state: State, unit: Tensor) -> Tensor:
        """Return what a column's own error falls by, (N, D)."""
        draws = state.draws
        sign = 1 if self.error == "values" else -1
        own = column_sums(draws.table, (draws.epistemic + sign * draws.aleatoric) / unit)
        return own * self._asked(state)

    def _counts(self, state: State) -> Tensor:
        """Return whose errors count: other columns, not measured, that are targets, (N, D, E)."""
        owner = state.draws.table.owner.to(state.x.device)
        other = owner != torch.arange(state.x.shape[1], device=owner.device)[:, None]
        open_ = ~state.mask[:, owner] & self._asked(state)[owner]
        return open_[:, None] & other

    def _asked(self, state: State) -> Tensor:
        """Return which columns are targets, (D,)."""
        dim = len(state.draws.table.names)
        places = column_indices(state.draws.table, self.targets, "targets") or range(dim)
        asked = torch.zeros(dim, dtype=torch.bool, device=state.x.device)
        asked[list(places)] = True
        return asked
