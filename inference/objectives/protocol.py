"""What `fit` asks of whatever it trains a pair by: an `Objective`, or one of your own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from inference.objectives.losses import LossResult


@runtime_checkable
class TrainingObjective(Protocol):
    """A loss to go down, and a figure to report; it need not come from a bound.

    Where the figure is no bound, an attribute ``figure`` names it: its columns in a run's history
    are called so, in place of ``bound``.
    """

    def measure(
        self,
        model: Any,
        guide: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        step: int = 0,
        data_size: int | None = None,
        plate: str | None = None,
    ) -> LossResult:
        """Return the loss of a batch, and figures for the history."""

    def after_step(self, result: LossResult) -> None:
        """Learn from a step that the optimiser has taken."""

    def bound(
        self,
        model: Any,
        guide: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        data_size: int | None = None,
        plate: str | None = None,
    ) -> Tensor:
        """Return what epochs are judged by, the more the better: (B,), or a scalar for all."""

    def report(self, step: int) -> dict[str, float]:
        """Return the history's columns about the objective itself, at a training step."""

    def modules(self) -> Mapping[str, nn.Module]:
        """Return what has a state that a run saves and resumes, or parameters of its own."""

    def reset(self) -> None:
        """Begin a new run."""

    @property
    def steered(self) -> bool:
        """Whether it changes as it learns, so that the last weights are kept, not the best."""

    @property
    def whole_batch(self) -> tuple[str, ...]:
        """Name what looks at a batch as a whole, and so cannot be shared among processes."""

    def unfinished_warmup(self, step: int) -> float | None:
        """Return a weight that is below 1 and still rises; None if there is none."""
