"""What is reported of an epoch: the plain bound, with its error, and what training minimised."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor

from inference.randomness import derive, seeded
from inference.tracing import Source
from inference.training.auxiliary import information, some_rows

if TYPE_CHECKING:
    from inference.training.lightning_module import Learner


def make_row(learner: Learner) -> dict[str, Any]:
    """Make the epoch's line of the history."""
    at, plan = learner.progress, learner.plan
    loss, rows, *sums = learner.over_all([at.loss, at.rows, *at.sums.values()])
    row = {"epoch": at.epoch + 1, "step": at.step, "loss": loss / rows}
    row |= plan.objective.report(at.step - 1)
    row |= {name: value / rows for name, value in zip(at.sums, sums, strict=True)}
    row["bound"], row["bound_se"] = bound(learner, plan.audited)
    if plan.validation is not None:
        row["validation_bound"], row["validation_bound_se"] = bound(learner, plan.validation)
    return row | learner.extras.report(lambda: _information(learner))


def bound(learner: Learner, source: Source) -> tuple[float, float]:
    """Estimate the plain bound per observation, with its standard error.

    The noise is the same each time. The error is that over observations; where the bound does
    not fall apart into them, that over batches (nan for a single one).
    """
    plan, parts = learner.plan, []
    learner.eval()
    with torch.no_grad(), seeded(derive(plan.seed, "bound", learner.global_rank)):
        for batch in learner.shares(source.batches(derive(plan.seed, "bound"))):
            args, kwargs, rows, _ = move_data_to_device(batch, learner.device)
            args, kwargs = learner.transformed(args, kwargs, rows)
            with learner.explained(args, kwargs):
                value = plan.objective.bound(
                    learner.model, learner.guide, args, kwargs, plan.data_size, plan.plate
                )
            value = value.cpu().double()
            if value[:rows].isnan().any() if value.ndim else value.isnan():
                raise learner.found(args, kwargs)
            if rows:  # a value an observation, or one that stands for all of them
                parts.append((1, value[:rows]) if value.ndim else (rows, value[None]))
    learner.train()
    return _mean_and_error(learner, parts)


def _mean_and_error(learner: Learner, parts: list[tuple[int, Tensor]]) -> tuple[float, float]:
    """Mean of values with weights, and its standard error, over all processes."""
    count, rows, total = learner.over_all(
        [
            sum(len(value) for _, value in parts),
            sum(weight * len(value) for weight, value in parts),
            sum(weight * value.sum().item() for weight, value in parts),
        ]
    )
    mean = total / rows
    squares = sum(w * (value - mean).square().sum().item() for w, value in parts)
    (squares,) = learner.over_all([squares])
    return mean, math.sqrt(squares / (count - 1) / rows) if count > 1 else math.nan


def _information(learner: Learner) -> float:
    """Estimate the mutual information on the validation data, or where there are none, others."""
    plan, seed = learner.plan, derive(learner.plan.seed, "information")
    data = some_rows(plan.validation or plan.audited, seed).to(learner.device)
    with seeded(seed):
        return information(
            learner.model, learner.guide, data.changed(plan.transform), seed, plan.plate
        )
