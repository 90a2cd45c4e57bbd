"""Mixtures of Gaussians that Pyro lacks.

With equal, fixed weights, drawn differentiably (`NormalMixture`); of many components, scored by
matrix products (`DiagonalMixture`).
"""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.utils.checkpoint import checkpoint

from ppl_models.distributions.sequences import CHECKPOINT, HALF_LOG_2PI


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
        """Return the same distribution with a larger batch shape."""
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


class DiagonalMixture(TorchDistribution):
    """p(z) = sum_k w_k N(z; loc_k, diag scale_k^2), for many components and many values.

    With 1 / scale^2 and loc / scale^2 as (2 L, K) matrices, the log densities of all components
    are one product with (z^2, z): nothing of size (values, K, L) is made. The product is a
    difference of large numbers, so it is taken in double precision whatever the dtype (which costs
    1.5 times single precision on a CPU; off by 3e-4 nats for L = 40 otherwise, and more where
    scales are small). Values are taken as many at a time as `BUDGET` numbers allow; what a
    backward pass needs of such a part is then computed again.

    Parameters
    ----------
    loc, scale : Tensor
        (K, L).
    logits : Tensor, optional
        (K,), log weights up to a constant; equal weights by default.
    batch_shape : tuple of int
        The enclosing plates expand it.
    """

    BUDGET = 2**22
    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.real_vector

    def __init__(
        self,
        loc: Tensor,
        scale: Tensor,
        logits: Tensor | None = None,
        *,
        batch_shape: tuple[int, ...] = (),
    ) -> None:
        self.loc, self.scale = loc, scale
        self.logits = loc.new_zeros(len(loc)) if logits is None else logits
        self._product: tuple[Tensor, Tensor] | None = None
        super().__init__(torch.Size(batch_shape), loc.shape[-1:], validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> DiagonalMixture:
        """Return the same distribution with a larger batch shape: independent draws of it."""
        return DiagonalMixture(self.loc, self.scale, self.logits, batch_shape=tuple(batch_shape))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw values (*sample_shape, *batch_shape, L)."""
        with torch.no_grad():
            shape = torch.Size(sample_shape) + self.batch_shape
            weights = self.logits.softmax(-1)
            k = torch.multinomial(weights, max(shape.numel(), 1), replacement=True)
            k = k[: shape.numel()].reshape(shape)
            return torch.normal(self.loc[k], self.scale[k])

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of values (..., L): (...)."""
        rows = value.reshape(-1, value.shape[-1])
        size = max(1, self.BUDGET // len(self.loc))
        self._matrices()  # not within a part, which runs twice
        if len(rows) <= size:
            total = self.joint(rows).logsumexp(-1)
        else:
            total = torch.cat(
                [checkpoint(self._score, part, **CHECKPOINT) for part in rows.split(size)]
            )
        total = total.reshape(value.shape[:-1])
        return total.expand(torch.broadcast_shapes(total.shape, self.batch_shape))

    def joint(self, value: Tensor) -> Tensor:
        """Return log w_k N(z; loc_k, diag scale_k^2) of values (..., L): (..., K)."""
        weight, constant = self._matrices()
        z = value.to(weight.dtype)
        both = torch.cat([z * z, z], -1)
        rows = torch.addmm(constant, both.reshape(-1, both.shape[-1]), weight)
        return rows.reshape(*value.shape[:-1], -1).to(value.dtype)

    def _score(self, rows: Tensor) -> Tensor:
        return self.joint(rows).logsumexp(-1)

    def _matrices(self) -> tuple[Tensor, Tensor]:
        """Return the (2 L, K) matrix and the (K,) constant of the product, made once."""
        if self._product is None:
            exact = torch.float32 if self.loc.device.type == "mps" else torch.float64
            loc, scale = self.loc.to(exact), self.scale.to(exact)
            precision = scale**-2
            linear = loc * precision
            constant = self.logits.to(exact).log_softmax(-1) - HALF_LOG_2PI * loc.shape[-1]
            constant = constant - (0.5 * loc * linear + scale.log()).sum(-1)
            self._product = torch.cat([-0.5 * precision, linear], -1).T, constant
        return self._product
