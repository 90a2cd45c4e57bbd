"""What training comes to: the pair, and how it went."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn


@dataclass
class Run:
    """A trained pair, and how its training went; ``print`` it.

    ``history`` has a dict a report, by default one an epoch: ``epoch`` and ``step`` (counted from
    1), ``loss`` (the mean of what training minimised in that epoch, as the objective says),
    ``kl_weight`` (of the last step; of sites that have their own, ``kl_weight SITE``), ``bound``
    and ``bound_se``, and with validation data ``validation_bound`` and ``validation_bound_se``.
    An objective whose figure is no bound gives these columns the name of what it is
    (`TransportObjective`: ``log_likelihood``).
    Bounds are plain ones, after the epoch, in nats per observation; without a data plate in nats
    in all (``unit``). Objectives that take the bound
    apart add ``rate`` and each penalty by the name of its class, means over the epoch's steps;
    updates add ``updates``, their mode, and ``information`` where they asked for it.
    """

    model: nn.Module
    guide: nn.Module
    history: list[dict[str, Any]]
    best_bound: float | None  # None, too, of an objective whose figure is no bound
    best_epoch: int
    epochs: int
    interrupted: bool
    directory: Path | None
    notes: tuple[str, ...]
    seconds: float
    unit: str = "nats per observation"

    def __repr__(self) -> str:
        pair = f"{type(self.model).__name__}, {type(self.guide).__name__}"
        best = "None" if self.best_bound is None else f"{self.best_bound:.5g}"
        notes = f", {len(self.notes)} notes" if self.notes else ""
        return f"Run({pair}, epochs={self.epochs}, best_bound={best}{notes})"

    def __str__(self) -> str:
        if self.epochs == 0:
            return "Interrupted in the first epoch." if self.interrupted else "Not trained."
        took = f"{self.epochs:,} epoch{'s' * (self.epochs > 1)}"
        if not self.history:
            return f"Interrupted after {took}, before the first report."
        last = self.history[-1]
        name = figure_of(last)
        validated = f"validation_{name}"
        steps = f" ({last['step']:,} steps)" if last["epoch"] == self.epochs else ""
        words = [
            f"{'Interrupted after' if self.interrupted else 'Trained'} {took}{steps} "
            f"in {self.seconds:.3g} s.",
            f"{spoken(name)} {_nats(last, name)} {self.unit} on the training data"
            + ("." if validated not in last else ";"),
        ]
        if validated in last:
            best = next(row for row in self.history if row["epoch"] == self.best_epoch)
            words.append(
                f"{'at best ' * (name == 'bound')}{_nats(best, validated)} on the validation data, "
                f"after epoch {self.best_epoch}, whose weights these are."
            )
        return " ".join([*words, *self.notes])


def _nats(row: dict[str, Any], name: str) -> str:
    error = row[f"{name}_se"]
    digits = max(0, 1 - math.floor(math.log10(error))) if error > 0 else 3
    return f"{row[name]:,.{digits}f}" + (f" ± {error:.{digits}f}" if error > 0 else "")


def figure_of(row: dict[str, Any]) -> str:
    """Return what the figure of a report is: ``bound``, or the name that the objective gives it."""
    errors = (name for name in row if name.endswith("_se") and not name.startswith("validation_"))
    return next(errors).removesuffix("_se")


def judged_by_a_bound(history: list[dict[str, Any]]) -> bool:
    """Whether the figures of a run's reports are bounds."""
    return all(figure_of(row) == "bound" for row in history)


def spoken(figure: str) -> str:
    """Return a figure's name in words."""
    return "Bound" if figure == "bound" else f"{figure.replace('_', ' ').capitalize()} (no bound)"
