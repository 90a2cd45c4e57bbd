"""The best single order for everybody, chosen greedily on people whose values are known."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inference.randomness import derive
from inference.tasks.acquisition.acquire import PEOPLE, Plan, make_plan
from inference.tasks.acquisition.predictor import Predictor
from inference.tasks.acquisition.rewards import Units


@torch.no_grad()
def greedy_order(
    predictor: Predictor,
    x: Tensor,
    *,
    mask: Tensor | None = None,
    truth: Tensor | None = None,
    measured: Sequence[str | int] | Tensor = (),
    acquirable: Sequence[str | int] | None = None,
    steps: int | None = None,
    num_samples: int = 100,
    units: Units = "standard",
    seed: int = 0,
) -> tuple[int, ...]:
    """Return columns in the order for `FixedOrder`: each adds the one that leaves the least RMSE.

    The mean is over the people given, who should not be those that the order is then tried on.
    D (D + 1) / 2 predictions of everybody. Arguments as of `acquire`.

    Raises
    ------
    InputError
        Data or columns that do not fit the table.
    """
    plan = make_plan(predictor.table, x, None, mask, truth, measured, acquirable, None, units)
    left = [d for d in range(x.shape[1]) if bool(plan.allowed[:, d].any())]
    order: list[int] = []
    while left and (steps is None or len(order) < steps):
        where = derive(seed, "greedy", len(order))
        errors = [_error(predictor, plan, [*order, column], num_samples, where) for column in left]
        order.append(left.pop(min(range(len(left)), key=errors.__getitem__)))
    return tuple(order)


def _error(
    predictor: Predictor, plan: Plan, columns: list[int], num_samples: int, seed: int
) -> float:
    """Return the mean RMSE over people once these columns are measured."""
    table, total = predictor.table, 0.0
    step = max(1, PEOPLE // (num_samples * 4 * len(table.owner)))
    for start in range(0, len(plan.x), step):
        part = plan.rows(slice(start, start + step))
        known = part.measured.clone()
        known[:, columns] |= part.allowed[:, columns]
        draws = predictor.draws(part.x, known, num_samples, seed)
        held = known[:, table.owner.to(known.device)]
        guess = torch.where(held, part.truth.measured, draws.expected)
        total += float(part.truth.rmse(table, guess - part.truth.coordinates).sum())
    return total / len(plan.x)
