"""A Normal of D numbers with one scale: the distribution of the many pixels of a frame."""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints


class SphericalNormal(TorchDistribution):
    """N(mean, scale^2 I) of event shape (D,): what ``Normal(mean, scale).to_event(1)`` is.

    Its density is one sum of squares, where that one writes an array of D densities several times.

    Parameters
    ----------
    mean : Tensor
        (..., D).
    scale : Tensor
        (): one number.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        self.loc, self.scale = mean, scale
        super().__init__(mean.shape[:-1], mean.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(..., D)."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """(..., D)."""
        return (self.scale * self.scale).expand_as(self.loc)

    def expand(self, batch_shape: Any, _instance: Any = None) -> SphericalNormal:
        """Return the same distribution with a larger batch shape."""
        shape = torch.Size(batch_shape) + self.event_shape
        return SphericalNormal(self.loc.expand(shape), self.scale)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of vectors (..., D): (...)."""
        level = self.scale.log() + 0.5 * math.log(2 * math.pi)
        squares: Tensor = (value - self.loc).square().sum(-1)
        return -0.5 * squares / self.scale**2 - self.event_shape[0] * level

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw vectors (*sample_shape, ..., D), differentiable in mean and scale."""
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return torch.addcmul(self.loc, noise, self.scale)
