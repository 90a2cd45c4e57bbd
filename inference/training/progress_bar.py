"""The progress of a run: a bar where a person looks on, else a line now and then."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

from inference.training.plan import Plan
from inference.training.run import figure_of
from inference.training.run_folder import Progress

FIRST, EVERY = 10.0, 60.0
"""Seconds to the first line, and from line to line, where stderr is a file or a pipe."""


class Bar:
    """A bar over steps in a terminal or a notebook; in a log, a line with the latest bound."""

    def __init__(self, plan: Plan, progress: Progress, rank: int) -> None:
        watched = sys.stderr.isatty() or "ipykernel" in sys.modules
        self.epochs, self._at, self._steps = plan.epochs, progress, plan.source.steps
        self._lines = plan.progress and rank == 0 and not watched
        self._began = time.monotonic()
        self._next, self._text = self._began + FIRST, "bound not yet known"
        self._bar = tqdm(
            total=plan.source.steps and plan.source.steps * plan.epochs,
            initial=progress.step,
            disable=not (plan.progress and rank == 0 and watched),
            mininterval=0.2,
            unit=" steps",
        )
        self.close = self._bar.close

    def step(self) -> None:
        """Count a step."""
        self._bar.update()
        if self._lines and time.monotonic() > self._next:
            self._say()

    def _say(self) -> None:
        """Print a line."""
        now = time.monotonic()
        of = f" of {self._steps}" if self._steps else ""
        where = f"epoch {self._at.epoch + 1} of {self.epochs}, step {self._at.batch}{of}"
        print(f"{where}, {self._text}, {now - self._began:,.0f} s", file=sys.stderr, flush=True)
        self._next = now + EVERY

    def epoch(self, row: dict[str, Any]) -> None:
        """Show an epoch's figures."""
        name = figure_of(row)
        text = f"{name.replace('_', ' ')} {row[name]:.5g}"
        if f"validation_{name}" in row:
            text += f", validation {row[f'validation_{name}']:.5g}"
        self._text = text
        self._bar.set_description(f"epoch {row['epoch']}/{self.epochs}", refresh=False)
        self._bar.set_postfix_str(text, refresh=False)
