"""What is reported of an epoch: the plain bound, with its error, and what training minimised."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import pyro
import torch
from torch import Tensor

from inference.randomness import derive, seeded
from inference.tracing import Source
from inference.training.auxiliary import information, some_rows
from inference.training.session import Session, Share


def make_row(session: Session) -> dict[str, Any]:
    """Make the epoch's line of the history."""
    at, plan = session.progress, session.plan
    loss, rows, *sums = session.processes.total([at.loss, at.rows, *at.sums.values()])
    row = {"epoch": at.epoch + 1, "step": at.step, "loss": loss / rows}
    row |= plan.objective.report(at.step - 1)
    row |= {name: value / rows for name, value in zip(at.sums, sums, strict=True)}
    name = getattr(plan.objective, "figure", "bound")
    row[name], row[f"{name}_se"] = bound(session, plan.audited)
    if plan.validation is not None:
        value, error = bound(session, plan.validation)
        row |= {f"validation_{name}": value, f"validation_{name}_se": error}
    return row


def bound(session: Session, source: Source) -> tuple[float, float]:
    """Estimate the plain bound per observation, with its standard error.

    The noise is the same each time. The error is that over observations; where the bound does
    not fall apart into them, that over batches (nan for a single one).
    """
    pair, plan, parts = session.pair, session.plan, []
    # Pyro has looked at every value in the first epoch's report
    unwatched = pyro.validation_enabled(False) if session.progress.history else nullcontext()
    pair.eval()
    with torch.no_grad(), unwatched, seeded(derive(plan.seed, "bound", session.processes.rank)):
        for share in session.shares(source.batches(derive(plan.seed, "bound"))):
            value, rows = _bound_of(session, session.transformed(share)), share.rows
            if rows:  # a value an observation, or one that stands for all of them
                parts.append((1, value[:rows]) if value.ndim else (rows, value[None]))
    pair.train()
    return _mean_and_error(session, parts)


def _bound_of(session: Session, share: Share) -> Tensor:
    """Return the bound of a batch, an observation each if it can be, on the CPU."""
    try:
        value = session.pair.bound(share.args, share.kwargs).cpu().double()
    except ValueError as error:
        found = session.explained(error, share)
        if found is None:
            raise
        raise found from error
    if (value[: share.rows] if value.ndim else value).isnan().any():
        raise session.found(share)
    return value


def _mean_and_error(session: Session, parts: list[tuple[int, Tensor]]) -> tuple[float, float]:
    """Mean of values with weights, and its standard error, over all processes."""
    count, rows, total = session.processes.total(
        [
            sum(len(value) for _, value in parts),
            sum(weight * len(value) for weight, value in parts),
            sum(weight * value.sum().item() for weight, value in parts),
        ]
    )
    mean = total / rows
    squares = sum(w * (value - mean).square().sum().item() for w, value in parts)
    (squares,) = session.processes.total([squares])
    return mean, math.sqrt(squares / (count - 1) / rows) if count > 1 else math.nan


def information_now(session: Session) -> float:
    """Estimate the mutual information on the validation data, or where there are none, others."""
    pair, plan = session.pair, session.plan
    seed = derive(plan.seed, "information")
    data = some_rows(plan.validation or plan.audited, seed).to(session.processes.device)
    with seeded(seed):
        return information(pair.model, pair.guide, data.changed(plan.transform), seed, plan.plate)
