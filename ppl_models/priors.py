"""Priors: what a code is before a datum is seen, as parts of a story.

Each is called inside the story's plate, samples its sites, and returns the code z (..., L):
``z = self.prior()``. Its `log_prob` is the marginal density of z.
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn


class StandardPrior(nn.Module):
    """z ~ Normal(0, I).

    Parameters
    ----------
    latent_dim : int
        L.
    """

    zero: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)

    def forward(self, name: str = "z") -> Tensor:
        """Sample the site ``name``."""
        return pyro.sample(name, self.law())

    def law(self) -> dist.TorchDistribution:
        """Return p(z), event shape (L,)."""
        return dist.Normal(self.zero, 1.0).to_event(1)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z) of codes (..., L): (...)."""
        return self.law().log_prob(z)
