"""What one call of `fit` consists of: its plan, its progress bar, and what Ctrl-C does in it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from inference.errors import NonFiniteError
from inference.objectives import TrainingObjective
from inference.tracing import Columns, Source, TensorSource, nonfinite_rows
from inference.training.run_folder import Progress, RunFolder


@dataclass
class Plan:
    """What `fit` was asked to do."""

    source: Source
    audited: Source  # the part of the training data on which the bound is reported
    validation: Source | None
    objective: TrainingObjective
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
    learning_rate: Callable[[int], float] | None  # a schedule; None where the optimiser has its own
    transform: Callable[[Any], Any] | None
    updates: nn.Module | None
    data_size: int
    epochs: int
    seed: int
    patience: int | None
    plate: str | None
    folder: RunFolder | None
    title: str
    names: tuple[str, ...]
    progress: bool
    on_step: Callable[[int, float], Any] | None

    def is_over(self, at: Progress) -> bool:
        """Whether all epochs are done, or the bound has stopped rising."""
        stale = self.patience is not None and at.epoch - at.best_epoch >= self.patience
        return at.epoch >= self.epochs or stale

    def located(self, error: NonFiniteError, where: str, batch: Columns) -> NonFiniteError:
        """Say when an error came, and whether the data themselves are to blame."""
        seen, data = f"{error.found} ({where})", batch
        if isinstance(self.source, TensorSource) and "batch" in where:
            data = self.source.data
        if rows := nonfinite_rows(data, self.names):
            seen += f"; in the data, {rows}"
        return NonFiniteError(error.site, seen, error.expected, error.cure)


class Interrupt:
    """Ctrl-C within the block sets `asked`; a second one interrupts at once, as usual."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Interrupt:
        self._here = threading.current_thread() is threading.main_thread()
        self.watch()
        return self

    def watch(self) -> None:
        """Listen, in a child of the process that entered the block, too."""
        if self._here and signal.getsignal(signal.SIGINT) != self._ask:
            self._previous = signal.signal(signal.SIGINT, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("\nstopping after this step (Ctrl-C again: at once)", file=sys.stderr)

    def __exit__(self, *error: object) -> None:
        if self._here:
            signal.signal(signal.SIGINT, self._previous or signal.default_int_handler)


class Bar:
    """A progress bar over steps, where a person looks on: in a terminal or a notebook."""

    def __init__(self, plan: Plan, progress: Progress, rank: int) -> None:
        watched = sys.stderr.isatty() or "ipykernel" in sys.modules
        self.epochs = plan.epochs
        self._bar = tqdm(
            total=plan.source.steps and plan.source.steps * plan.epochs,
            initial=progress.step,
            disable=not (plan.progress and rank == 0 and watched),
            mininterval=0.2,
            unit=" steps",
        )
        self.step, self.close = self._bar.update, self._bar.close

    def epoch(self, row: dict[str, Any]) -> None:
        """Show an epoch's figures."""
        text = f"bound {row['bound']:.5g}"
        if "validation_bound" in row:
            text += f", validation {row['validation_bound']:.5g}"
        self._bar.set_description(f"epoch {row['epoch']}/{self.epochs}", refresh=False)
        self._bar.set_postfix_str(text, refresh=False)
