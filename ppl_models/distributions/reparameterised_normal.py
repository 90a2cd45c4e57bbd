"""A multivariate normal distribution that scores its own draws without solving for their noise."""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro import distributions as dist
from torch import Tensor


class ReparameterisedNormal(dist.MultivariateNormal):
    """N(loc, L L^T), which remembers the noise of its last draw, z = loc + L eps.

    The density of that draw is then N(eps; 0, I) / |L|, without a triangular system: what a guide
    needs in every step. Values and gradients are those of `MultivariateNormal`, whose arguments it
    takes; other values are scored as there.
    """

    _drawn: tuple[Tensor, Tensor] | None = None

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw (*sample_shape, ..., L), differentiable in mean and factor."""
        eps = torch.randn(
            self._extended_shape(torch.Size(sample_shape)),
            dtype=self.loc.dtype,
            device=self.loc.device,
        )
        z = self.loc + (self._unbroadcasted_scale_tril @ eps[..., None])[..., 0]
        self._drawn = z, eps
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density (...,) of values (..., L)."""
        if self._drawn is None or self._drawn[0] is not value:
            density: Tensor = super().log_prob(value)
            return density
        eps = self._drawn[1]
        log_volume = self._unbroadcasted_scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constant = 0.5 * eps.shape[-1] * math.log(2 * math.pi)
        return -0.5 * eps.square().sum(-1) - log_volume - constant
