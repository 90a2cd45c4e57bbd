"""A density of vectors, given by a model's functions to draw and to score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from ppl_models.errors import InputError

DataKind = Literal["real", "bits"]
NONE = torch.Size()


class Density(TorchDistribution):
    """A density of vectors, drawn from and scored by functions of a model; no path of gradients.

    Parameters
    ----------
    draw : Callable
        From a shape to values (*shape, D).
    score : Callable
        From values (..., D) to log densities (...).
    data_dim : int
        D.
    kind : "real" or "bits"
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(
        self,
        draw: Callable[[torch.Size], Tensor],
        score: Callable[[Tensor], Tensor],
        data_dim: int,
        kind: DataKind,
        batch_shape: torch.Size = NONE,
    ) -> None:
        self.draw, self.score, self.kind = draw, score, kind
        super().__init__(batch_shape, torch.Size([data_dim]), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """Vectors of real numbers, or of bits."""
        one = constraints.boolean if self.kind == "bits" else constraints.real
        return constraints.independent(one, 1)

    def expand(self, batch_shape: Any, _instance: object = None) -> Density:
        """Return the same density, over a batch of that shape."""
        shape = torch.Size(batch_shape)
        return Density(self.draw, self.score, self.event_shape[0], self.kind, shape)

    @torch.no_grad()
    def sample(self, sample_shape: Any = NONE) -> Tensor:
        """Draw values (*sample_shape, *batch_shape, D)."""
        return self.draw(torch.Size(sample_shape) + self.batch_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of values (..., D)."""
        scores = self.score(value)
        return scores.expand(torch.broadcast_shapes(scores.shape, self.batch_shape))


def check_kind(kind: str) -> None:
    """Raise an InputError for a kind of data that these densities do not have."""
    if kind not in ("real", "bits"):
        cure = "bits are floats, 0 or 1; rescale other numbers and call them real"
        raise InputError("kind", repr(kind), '"real" or "bits"', cure)
