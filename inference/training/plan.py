"""What one call of `fit` was asked to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pyro.optim import PyroOptim
from torch import nn

from inference.errors import NonFiniteError
from inference.objectives import TrainingObjective
from inference.randomness import derive
from inference.tracing import Columns, Source, TensorSource, nonfinite_rows
from inference.training.optimizers import MakeOptimizer
from inference.training.run_folder import Progress, RunFolder


@dataclass
class Plan:
    """What `fit` was asked to do."""

    source: Source
    audited: Source  # the part of the training data on which the bound is reported
    validation: Source | None
    objective: TrainingObjective
    optimizer: MakeOptimizer | PyroOptim
    learning_rate: Callable[[int], float] | None  # a schedule; None where the optimiser has its own
    transform: Callable[[Any], Any] | None
    updates: nn.Module | None
    data_size: int
    epochs: int
    report_every: int  # epochs
    seed: int
    patience: int | None
    clip: float | None
    plate: str | None
    folder: RunFolder | None
    title: str
    names: tuple[str, ...]
    progress: bool
    on_step: Callable[[int, float], Any] | None

    def batches(self, at: Progress) -> Iterator[Columns]:
        """Return what is left of an epoch, in the order that its number decides."""
        return self.source.batches(derive(self.seed, "order", at.epoch), at.batch)

    def reports(self, epoch: int) -> bool:
        """Whether an epoch, counted from 1, ends with a report."""
        return epoch % self.report_every == 0 or epoch == self.epochs

    def stale(self, at: Progress) -> bool:
        """Whether the last report was the one too many without a better bound."""
        if self.patience is None or not at.history:
            return False
        return bool(at.history[-1]["epoch"] - at.best_epoch >= self.patience)

    def is_over(self, at: Progress) -> bool:
        """Whether all epochs are done, or the bound has stopped rising."""
        return at.epoch >= self.epochs or self.stale(at)

    def located(self, error: NonFiniteError, where: str, batch: Columns) -> NonFiniteError:
        """Say when an error came, and whether the data themselves are to blame."""
        found, data = f"{error.found} ({where})", batch
        if isinstance(self.source, TensorSource) and "batch" in where:
            data = self.source.data
        if rows := nonfinite_rows(data, self.names):
            found += f"; in the data, {rows}"
        return NonFiniteError(error.site, found, error.expected, error.cure)
