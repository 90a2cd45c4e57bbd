"""A distribution that can be drawn from, differentiably, and has no density that anybody knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from ppl_models.errors import InputError


class Implicit(TorchDistribution):
    """What a generator makes of noise: a vector, drawn by reparametrisation.

    Parameters
    ----------
    draw : callable
        From a batch shape, vectors (*shape, D), differentiable.
    dim : int
        D.
    batch_shape : tuple of int
        Of the vectors.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, draw: Callable[[torch.Size], Tensor], dim: int, batch_shape: tuple[int, ...] = ()
    ) -> None:
        self.draw = draw
        super().__init__(torch.Size(batch_shape), torch.Size((dim,)), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Implicit:
        """Return the same distribution with a larger batch shape."""
        return Implicit(self.draw, self.event_shape[0], tuple(batch_shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw vectors (*sample_shape, *batch_shape, D)."""
        return self.draw(torch.Size(sample_shape) + self.batch_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Refuse: there is no density.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(
            "log_prob",
            "an implicit distribution: draws of a generator, without a density",
            "a distribution whose density is known, for bounds and weights",
            "train by inference.objectives.TransportObjective; ask for no bound of this pair",
        )
