"""Measure one column after another, each the one that a reward says is worth most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inference.randomness import derive
from inference.tasks.acquisition.curve import Curve
from inference.tasks.acquisition.errors import Scored, Truth, score
from inference.tasks.acquisition.hypotheses import State
from inference.tasks.acquisition.predictor import Predictor, check_people
from inference.tasks.acquisition.rewards import Reward, Units
from inference.tasks.acquisition.table import Table, column_indices
from ppl_models.errors import InputError
from ppl_models.inputs import check_count

PEOPLE = 2**24
"""Numbers that the draws of one block of people may take."""


@dataclass(frozen=True)
class Plan:
    """What may be measured, of whom, at what cost, and how it is judged."""

    table: Table
    x: Tensor
    exists: Tensor
    measured: Tensor
    allowed: Tensor
    """(N, D): what exists, may be measured, and was not from the start."""
    costs: Tensor
    truth: Truth

    def rows(self, some: slice) -> Plan:
        """Return the plan of some of the people."""
        parts = {name: getattr(self, name)[some] for name in ("x", "exists", "measured", "allowed")}
        return replace(self, **parts, truth=self.truth.rows(some))


@torch.no_grad()
def acquire(
    predictor: Predictor,
    x: Tensor,
    reward: Reward,
    *,
    mask: Tensor | None = None,
    truth: Tensor | None = None,
    measured: Sequence[str | int] | Tensor = (),
    acquirable: Sequence[str | int] | None = None,
    costs: Tensor | None = None,
    steps: int | None = None,
    num_samples: int = 100,
    units: Units = "standard",
    seed: int = 0,
) -> Curve:
    """Measure column after column of every person, and judge the prediction after each.

    Parameters
    ----------
    predictor
        What the model believes, given what was measured.
    x
        The values (N, D) that measuring will find.
    reward
        What to measure next: the column of the largest reward a cost.
    mask
        Which values of x exist, (N, D); others can be neither measured nor judged.
    truth
        (N, D), what predictions are judged by; by default x. Give the values without noise where
        they are known: measured columns then count with the noise of their measurement.
    measured
        Columns known from the start, the same of all people; or a mask (N, D).
    acquirable
        Columns that may be measured; by default all but the reward's targets.
    costs
        Of a measurement of each column, (D,), positive; by default 1.
    steps
        M; by default until nothing is left to measure.
    num_samples
        Draws of the posterior, S.
    units
        Of the RMSE: standard units of each column, or those of the data.
    seed
        Of the draws: at each step new ones, the same for all people and all policies.

    Raises
    ------
    InputError
        Data, columns or costs that do not fit the table.
    """
    plan = make_plan(predictor.table, x, reward, mask, truth, measured, acquirable, costs, units)
    most = int(plan.allowed.sum(1).max())
    if steps is not None:
        check_count("steps", steps)
        most = min(most, steps)
    block = max(1, PEOPLE // (num_samples * 4 * len(predictor.table.owner)))
    parts = [
        _walk(predictor, plan, reward, most, num_samples, seed, slice(start, start + block))
        for start in range(0, len(x), block)
    ]
    joined = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
    return Curve(reward.name, tuple(predictor.table.names), **joined, units=units)


def compare(
    predictor: Predictor,
    x: Tensor,
    rewards: Mapping[str, Reward],
    *,
    mask: Tensor | None = None,
    truth: Tensor | None = None,
    measured: Sequence[str | int] | Tensor = (),
    acquirable: Sequence[str | int] | None = None,
    costs: Tensor | None = None,
    steps: int | None = None,
    num_samples: int = 100,
    units: Units = "standard",
    seed: int = 0,
) -> dict[str, Curve]:
    """Acquire by several policies from the same people, with the same draws: a curve each.

    Arguments as of `acquire`; curves take the names of ``rewards``.
    """
    curves = {
        name: acquire(
            predictor,
            x,
            reward,
            mask=mask,
            truth=truth,
            measured=measured,
            acquirable=acquirable,
            costs=costs,
            steps=steps,
            num_samples=num_samples,
            units=units,
            seed=seed,
        )
        for name, reward in rewards.items()
    }
    return {name: replace(curve, policy=name) for name, curve in curves.items()}


def make_plan(
    table: Table,
    x: Tensor,
    reward: Reward | None,
    mask: Tensor | None,
    truth: Tensor | None,
    measured: Sequence[str | int] | Tensor,
    acquirable: Sequence[str | int] | None,
    costs: Tensor | None,
    units: Units,
) -> Plan:
    """Check what `acquire` is given."""
    exists = check_people(table, x, mask)
    if truth is not None and truth.shape != x.shape:
        found, cure = f"shape {tuple(truth.shape)}", "the rows of x without noise"
        raise InputError("truth", found, f"shape {tuple(x.shape)}", cure)
    start = _at_start(table, measured, exists)
    avoid = column_indices(table, () if reward is None else reward.targets, "targets")
    may = torch.zeros_like(exists)
    if acquirable is None:
        may[:] = True
        may[:, list(avoid)] = False
    else:
        may[:, list(column_indices(table, acquirable, "acquirable"))] = True
    price = torch.ones_like(x[0]) if costs is None else costs.to(x)
    if price.shape != x[0].shape or not bool(((price > 0) & price.isfinite()).all()):
        expected = f"{x.shape[1]} positive numbers, one a column"
        raise InputError("costs", f"{price.tolist()}", expected, "leave it out: all cost the same")
    judged = Truth.of(table, x, truth, exists, units)
    return Plan(table, x, exists, start, exists & may & ~start, price, judged)


def _at_start(table: Table, measured: Sequence[str | int] | Tensor, exists: Tensor) -> Tensor:
    """Return what is known from the start, (N, D)."""
    if isinstance(measured, Tensor):
        if measured.shape != exists.shape or measured.dtype is not torch.bool:
            found = f"{measured.dtype} of shape {tuple(measured.shape)}"
            expected = f"booleans of shape {tuple(exists.shape)}, or names"
            raise InputError("measured", found, expected, 'measured=["age"], for all people')
        return measured & exists
    start = torch.zeros_like(exists)
    start[:, list(column_indices(table, measured, "measured"))] = True
    return start & exists


def _walk(
    predictor: Predictor,
    plan: Plan,
    reward: Reward,
    steps: int,
    num_samples: int,
    seed: int,
    some: slice,
) -> dict[str, Tensor]:
    """Return the fields of a curve, of some people."""
    people = torch.arange(len(plan.x))[some]
    plan = plan.rows(some)
    known, scores, order = plan.measured.clone(), list[Scored](), list[Tensor]()
    paid = [plan.x.new_zeros(len(people))]
    for step in range(steps + 1):
        draws = predictor.draws(plan.x, known, num_samples, derive(seed, "draws", step))
        scores.append(score(draws, plan.truth, known, derive(seed, "errors", step)))
        if step == steps:
            break
        state = State(draws, plan.x, known, derive(seed, "reward", step), people)
        choice = best(reward(state), plan.costs, plan.allowed & ~known)
        order.append(choice)
        there = choice >= 0
        known = known.clone()
        known[there.nonzero().squeeze(1), choice[there]] = True
        paid.append(paid[-1] + torch.where(there, plan.costs[choice.clamp_min(0)], 0.0))
    joined = {f: torch.stack([getattr(s, f) for s in scores], 1) for f in Scored._fields}
    empty = people.new_zeros(len(people), 0)
    return joined | {
        "order": torch.stack(order, 1) if order else empty,
        "cost": torch.stack(paid, 1),
    }


def best(worth: Tensor, costs: Tensor, allowed: Tensor) -> Tensor:
    """Return the column of the largest worth a cost for each person, (N,); -1 if none is allowed.

    A worth below 0, as an estimate may be, is multiplied by its cost: the dearer the worse.
    """
    ratio = torch.where(worth > 0, worth / costs, worth * costs)
    choice = torch.where(allowed, ratio.nan_to_num(-torch.inf), -torch.inf).argmax(1)
    # a reward that is nowhere a number still names an allowed column
    named = allowed.gather(1, choice[:, None]).squeeze(1)
    choice = torch.where(named, choice, allowed.to(torch.int8).argmax(1))
    return torch.where(allowed.any(1), choice, -1)
