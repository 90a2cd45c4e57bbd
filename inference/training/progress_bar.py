"""The progress bar of a run."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

from inference.training.plan import Plan
from inference.training.run_folder import Progress


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
