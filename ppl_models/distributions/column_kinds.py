"""Distributions of the columns of one kind in a table: what `MixedColumns` is put together from.

Each part scores, draws and summarises the K columns of its kind at once: values (..., K), and the
mean and variance of each coordinate (..., K), or of each class where columns are categorical. Log
densities are in the units of the data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
FAR = 1e4
"""Standard units, or logits, beyond which nothing is expected."""


class ColumnPart(Protocol):
    """K columns of one kind."""

    continuous: bool
    """Whether draws are differentiable functions of noise."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities (..., K) of values (..., K)."""

    def draw(self, shape: torch.Size) -> Tensor:
        """Return draws (*shape, ..., K), differentiable where they can be."""

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance of each coordinate."""


def _noise(like: Tensor, shape: torch.Size) -> Tensor:
    return torch.randn(shape + like.shape, dtype=like.dtype, device=like.device)


def _uniform(like: Tensor, shape: torch.Size) -> Tensor:
    eps = torch.finfo(like.dtype).eps
    u = torch.rand(shape + like.shape, dtype=like.dtype, device=like.device)
    return u.clamp(eps, 1 - eps)


def _normal(x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    return -0.5 * ((x - loc) / scale).square() - scale.log() - HALF_LOG_2PI


@dataclass(frozen=True)
class RealColumns:
    """Normal(loc, scale), both (..., K)."""

    loc: Tensor
    scale: Tensor
    continuous = True

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities (..., K)."""
        return _normal(x, self.loc, self.scale)

    def draw(self, shape: torch.Size) -> Tensor:
        """Return draws (*shape, ..., K)."""
        return torch.addcmul(self.loc, _noise(self.loc, shape), self.scale)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance."""
        return self.loc, self.scale.square()


@dataclass(frozen=True)
class PositiveColumns:
    """exp of Normal(loc, scale), both (..., K): log-normal numbers."""

    loc: Tensor
    scale: Tensor
    continuous = True

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities (..., K) of positive numbers."""
        logs = x.log()
        return _normal(logs, self.loc, self.scale) - logs

    def draw(self, shape: torch.Size) -> Tensor:
        """Return draws (*shape, ..., K)."""
        return torch.addcmul(self.loc, _noise(self.loc, shape), self.scale).exp()

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance of the numbers, not of their logs."""
        variance = self.scale.square()
        mean = (self.loc + 0.5 * variance).exp()
        return mean, mean.square() * variance.expm1()


@dataclass(frozen=True)
class CensoredColumns:
    """Normal(loc, scale) whose value is known within limits only.

    A value at ``upper`` or above it means "at least upper", one at ``lower`` or below it "at most
    lower": they score log probabilities, values between them log densities. Draws and moments are
    of min(max(x, lower), upper). Limits (K,) may be infinite.
    """

    loc: Tensor
    scale: Tensor
    lower: Tensor
    upper: Tensor
    continuous = True

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log densities, or log probabilities of the tails: (..., K)."""
        alpha, beta = self._limits()
        above, below = torch.special.log_ndtr(-beta), torch.special.log_ndtr(alpha)
        inside = _normal(x, self.loc, self.scale)
        return torch.where(x >= self.upper, above, torch.where(x <= self.lower, below, inside))

    def draw(self, shape: torch.Size) -> Tensor:
        """Return draws (*shape, ..., K) within the limits."""
        x = torch.addcmul(self.loc, _noise(self.loc, shape), self.scale)
        return torch.minimum(torch.maximum(x, self.lower), self.upper)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance of what is recorded."""
        alpha, beta = self._limits()
        low, high = torch.special.ndtr(alpha), torch.special.ndtr(-beta)
        at_low, at_high = _standard_density(alpha), _standard_density(beta)
        first = alpha * low + beta * high + at_low - at_high
        inside = 1 - low - high + alpha * at_low - beta * at_high
        second = alpha.square() * low + beta.square() * high + inside
        variance = (second - first.square()).clamp_min(0) * self.scale.square()
        return self.loc + self.scale * first, variance

    def _limits(self) -> tuple[Tensor, Tensor]:
        """Return both limits in standard units, and finite."""
        return self._standard(self.lower, -FAR), self._standard(self.upper, FAR)

    def _standard(self, limit: Tensor, far: float) -> Tensor:
        # an infinite limit would have a gradient of 0 times infinity
        there = limit.isfinite()
        limit = torch.where(there, limit, 0.0)
        inside = ((limit - self.loc) / self.scale).clamp(-FAR, FAR)
        return torch.where(there, inside, far)


def _standard_density(u: Tensor) -> Tensor:
    return (-0.5 * u.square() - HALF_LOG_2PI).exp()


@dataclass(frozen=True)
class CountColumns:
    """Negative binomial counts of mean exp(log_mean) (..., K) and log dispersion (K,).

    The variance is mean + mean^2 / dispersion: Poisson where the dispersion is large.
    """

    log_mean: Tensor
    log_dispersion: Tensor
    continuous = False

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log probabilities (..., K) of counts."""
        r = self.log_dispersion.exp()
        total = torch.logaddexp(self.log_mean, self.log_dispersion)
        ways = torch.lgamma(x + r) - torch.lgamma(r) - torch.lgamma(x + 1)
        return ways + r * (self.log_dispersion - total) + x * (self.log_mean - total)

    @torch.no_grad()
    def draw(self, shape: torch.Size) -> Tensor:
        """Return draws (*shape, ..., K)."""
        r = self.log_dispersion.exp().expand(shape + self.log_mean.shape)
        return torch.poisson(torch._standard_gamma(r) / r * self.log_mean.exp())

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance."""
        mean = self.log_mean.exp()
        return mean, mean + mean.square() / self.log_dispersion.exp()


@dataclass(frozen=True)
class BinaryColumns:
    """Bernoulli(logits) (..., K): 0 or 1."""

    logits: Tensor
    continuous = False

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log probabilities (..., K) of bits."""
        return logsigmoid(self.logits) - (1 - x) * self.logits

    @torch.no_grad()
    def draw(self, shape: torch.Size) -> Tensor:
        """Return draws (*shape, ..., K)."""
        p = self.logits.sigmoid()
        return torch.bernoulli(p.expand(shape + p.shape))

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance."""
        p = self.logits.sigmoid()
        return p, p * (1 - p)


@dataclass(frozen=True)
class CategoricalColumns:
    """Classes of K columns, with logits (..., K, C), C the largest number of classes.

    ``padding`` (K, C) is True for the classes that a column does not have; their logits are -FAR.
    """

    logits: Tensor
    padding: Tensor
    continuous = False

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log probabilities (..., K) of classes 0, 1, ..., as floats."""
        log_p = self.logits.log_softmax(-1)
        shape = torch.broadcast_shapes(x.shape, log_p.shape[:-1])
        index = x.long().expand(shape)[..., None]
        return log_p.expand(*shape, -1).gather(-1, index).squeeze(-1)

    @torch.no_grad()
    def draw(self, shape: torch.Size) -> Tensor:
        """Return draws (*shape, ..., K), as floats."""
        gumbel = -(-_uniform(self.logits, shape).log()).log()
        return (self.logits + gumbel).argmax(-1).to(self.logits.dtype)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance of every class's indicator, column by column."""
        p = self.logits.softmax(-1).flatten(-2)[..., ~self.padding.flatten()]
        return p, p * (1 - p)


@dataclass(frozen=True)
class OrdinalColumns:
    """Levels of K columns by proportional odds: P(x <= k) = sigmoid(cut_k - eta), eta (..., K).

    McCullagh, "Regression models for ordinal data", JRSS B 42, 1980. ``cuts`` (K, C + 1) begin with
    -FAR and end with FAR, as often as a column with fewer levels than C needs.
    """

    eta: Tensor
    cuts: Tensor
    continuous = False

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log probabilities (..., K) of levels 0, 1, ..., as floats."""
        count, width = self.cuts.shape
        rows = torch.arange(count, device=x.device) * width
        index = x.long() + rows
        flat = self.cuts.flatten()
        low, high = flat[index], flat[index + 1]
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)), which never cancels
        apart = torch.log(-torch.expm1(low - high))
        return logsigmoid(high - self.eta) + logsigmoid(self.eta - low) + apart

    @torch.no_grad()
    def draw(self, shape: torch.Size) -> Tensor:
        """Return draws (*shape, ..., K), as floats."""
        latent = self.eta + _uniform(self.eta, shape).logit()
        return (latent[..., None] > self.cuts[:, 1:-1]).sum(-1).to(self.eta.dtype)

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance of the level's number."""
        p = (self.cuts - self.eta[..., None]).sigmoid().diff(dim=-1)
        levels = torch.arange(p.shape[-1], dtype=p.dtype, device=p.device)
        mean = (p * levels).sum(-1)
        return mean, (p * (levels - mean[..., None]).square()).sum(-1)
