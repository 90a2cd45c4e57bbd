"""A mixture of Gaussians with equal, fixed weights, drawn differentiably: one that Pyro lacks."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from ppl_models.distributions import HALF_LOG_2PI


class NormalMixture(TorchDistribution):
    """z ~ N(loc_k, diag scale_k^2), with k one of the components that are there, all alike.

    log p(z) = log sum_k N(z; loc_k, diag scale_k^2) - log K. A draw takes k at random and is
    reparametrised in it: since the weights are fixed, the gradient of an expectation is unbiased.

    Parameters
    ----------
    loc, scale : Tensor
        (..., K, L).
    present : Tensor of bool
        (..., K), at least one of each K. The others count for nothing.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor, present: Tensor) -> None:
        shape = torch.broadcast_shapes(loc.shape, scale.shape, (*present.shape, 1))
        self.loc, self.scale = loc.expand(shape), scale.expand(shape)
        self.present = present.expand(shape[:-1])
        super().__init__(shape[:-2], shape[-1:], validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> NormalMixture:
        """Return the same law with a larger batch shape."""
        shape = torch.Size(batch_shape) + self.loc.shape[-2:]
        return NormalMixture(
            self.loc.expand(shape), self.scale.expand(shape), self.present.expand(shape[:-1])
        )

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw (*sample_shape, ..., L), differentiable in the component that was taken."""
        shape = torch.Size(sample_shape) + self.loc.shape
        weights = self.present.to(self.loc.dtype).expand(shape[:-1])
        taken = weights.reshape(-1, shape[-2]).multinomial(1).reshape(*shape[:-2], 1, 1)
        taken = taken.expand(*shape[:-2], 1, shape[-1])
        loc, scale = (t.expand(shape).gather(-2, taken)[..., 0, :] for t in (self.loc, self.scale))
        return loc + scale * torch.randn_like(loc)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of the mixture: (...)."""
        z = (value.unsqueeze(-2) - self.loc) / self.scale
        each = -(0.5 * z * z + self.scale.log()).sum(-1) - HALF_LOG_2PI * value.shape[-1]
        each = each.masked_fill(~self.present, -torch.inf)
        return each.logsumexp(-1) - self.present.sum(-1).to(each.dtype).log()

    @property
    def mean(self) -> Tensor:
        """The mean, (..., L)."""
        weights = self.present.to(self.loc.dtype).unsqueeze(-1)
        return (weights * self.loc).sum(-2) / weights.sum(-2)

    @property
    def variance(self) -> Tensor:
        """The variance of each number, (..., L): within and between the components."""
        weights = self.present.to(self.loc.dtype).unsqueeze(-1)
        spread = self.scale**2 + (self.loc - self.mean.unsqueeze(-2)) ** 2
        return (weights * spread).sum(-2) / weights.sum(-2)
