"""What a loss is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inference.objectives.pair_trace import PairTrace, trace_pair
from inference.tracing import Layout, batch_length, layout, whole_size


@dataclass(frozen=True, eq=False)
class Step:
    """A pair and a batch, as both take it; the pair's layout, and the training step from 0.

    ``data_size`` is N, the size of the data set; None if the batch is all of it.
    """

    model: Any
    guide: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: Layout
    data_size: int | None = None
    number: int = 0

    @staticmethod
    def of(
        model: Any,
        guide: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None,
        data_size: int | None,
        plate: str | None,
        number: int = 0,
    ) -> Step:
        """Read the pair's layout; ``plate`` names the data plate, where it is not to be guessed."""
        shape = layout(model, guide, args, kwargs, plate)
        return Step(model, guide, args, kwargs or {}, shape, data_size, number)

    @property
    def call(self) -> tuple[Any, Any, tuple[Any, ...], dict[str, Any], Layout]:
        """Pair, batch and layout: what most functions begin with."""
        return self.model, self.guide, self.args, self.kwargs, self.shape

    def trace(self) -> PairTrace:
        """Draw from the pair.

        Raises
        ------
        PairError
            As `trace_pair` does; or a batch of a data set, but no data plate.
        """
        size = whole_size(self.shape, batch_length(self.args, self.kwargs), self.data_size)
        return trace_pair(*self.call, size, self.number)
