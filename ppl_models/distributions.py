"""The few distributions Pyro lacks.

A sequence that feeds on itself, as one sample site (`AutoregressiveNormal`); levels of a rounded
logistic number (`DiscretizedLogistic`); a mixture of many Gaussians, scored by matrix products
(`DiagonalMixture`).
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, pi
from typing import Any

import torch
import torch.nn.functional as F
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.kl import register_kl
from torch.utils.checkpoint import checkpoint

Moments = tuple[Tensor, Tensor]

HALF_LOG_2PI = 0.5 * log(2 * pi)
ANEW: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}


class AutoregressiveNormal(TorchDistribution):
    """x_t given x_{1:t-1} is N(mean_t, diag scale_t^2), for t = 1, ..., T: one site a sequence.

    Density of a path, all frames at once from shifted inputs (teacher forcing):
    log p(x_{1:T}) = sum_t log N(x_t; mean_t(x_{1:t-1}), diag scale_t(x_{1:t-1})^2).

    Parameters
    ----------
    moments : callable
        From a value (..., T, D), mean and scale of every conditional, each (..., T, D). Row t may
        depend on rows before t only, and not on frames that the mask excludes; nothing checks it.
    draw : callable
        From a batch shape, a reparametrised path (*shape, T, D): the recursion.
    event_shape : tuple of int
        (T, D).
    batch_shape : tuple of int
        The enclosing plates expand it. `mask` brings its own.
    mask : Tensor of bool, optional
        (..., T), the frames that exist. The others add nothing to the density, and what stands
        there, NaN included, reaches neither value nor gradient.

    Raises
    ------
    ValueError
        A value whose last two dims are not `event_shape`.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.independent(constraints.real, 2)
    has_rsample = True

    def __init__(
        self,
        moments: Callable[[Tensor], Moments],
        draw: Callable[[torch.Size], Tensor],
        event_shape: tuple[int, int],
        *,
        batch_shape: tuple[int, ...] = (),
        mask: Tensor | None = None,
    ) -> None:
        self.moments, self.draw, self.mask_frames = moments, draw, mask
        self.drawn: Tensor | None = None
        if mask is not None:
            batch_shape = torch.broadcast_shapes(batch_shape, mask.shape[:-1])
        super().__init__(torch.Size(batch_shape), torch.Size(event_shape), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> AutoregressiveNormal:
        """Return the same law with a larger batch shape: independent paths of it."""
        return AutoregressiveNormal(
            self.moments,
            self.draw,
            (self.event_shape[0], self.event_shape[1]),
            batch_shape=tuple(batch_shape),
            mask=self.mask_frames,
        )

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw paths (*sample_shape, *batch_shape, T, D), differentiable in the parameters."""
        self.drawn = self.draw(torch.Size(sample_shape) + self.batch_shape)
        return self.drawn

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of paths (..., T, D): (...)."""
        return self.score_frames(value).sum(-1)

    def score_frames(self, value: Tensor) -> Tensor:
        """Return log p(x_t | x_{1:t-1}) of every frame: (..., T)."""
        if value.shape[-2:] != self.event_shape:
            raise ValueError(
                f"a path of event shape {tuple(self.event_shape)} (frames, dim) is expected, "
                f"got a value of shape {tuple(value.shape)}"
            )
        mean, scale = self.moments(value)
        mask = self.mask_frames
        if mask is not None:  # before any arithmetic, so that no gradient sees the padding
            value = torch.where(mask[..., None], value, mean.detach())
        z = (value - mean) / scale
        frames = -(0.5 * z * z + scale.log()).sum(-1) - HALF_LOG_2PI * value.shape[-1]
        if mask is not None:
            frames = torch.where(mask, frames, torch.zeros_like(frames))
        return frames.expand(*torch.broadcast_shapes(frames.shape[:-1], self.batch_shape), -1)


def normal_kl(q: Moments, p: Moments) -> Tensor:
    """Return KL(N(q) || N(p)) of diagonal Gaussians, summed over the last dim: (...)."""
    ratio = (q[0] - p[0]) / p[1], q[1] / p[1]
    return 0.5 * (ratio[0] ** 2 + ratio[1] ** 2 - 1 - 2 * ratio[1].log()).sum(-1)


@register_kl(AutoregressiveNormal, AutoregressiveNormal)
def _kl_of_paths(q: AutoregressiveNormal, p: AutoregressiveNormal) -> Tensor:
    """KL(q || p), its outer expectation taken at the path last drawn from q.

    KL(q || p) = E_{x ~ q} sum_t KL(q(x_t | x_{1:t-1}) || p(x_t | x_{1:t-1})). The inner terms are
    exact, so this estimate is unbiased and varies less than log q(x) - log p(x).
    """
    x = q.drawn if q.drawn is not None else q.rsample()
    frames = normal_kl(q.moments(x), p.moments(x))
    if q.mask_frames is not None:
        frames = torch.where(q.mask_frames, frames, torch.zeros_like(frames))
    return frames.sum(-1).expand(q.batch_shape)


class DiscretizedLogistic(TorchDistribution):
    """A level k = 0, ..., n - 1: the one nearest to a Logistic(loc, scale) number.

    Level k stands at c_k = 2 k / (n - 1) - 1. With h = 1 / (n - 1) and F the logistic cdf,
    P(k) = F(c_k + h) - F(c_k - h); level 0 has F(c_0 + h), level n - 1 has 1 - F(c_{n-1} - h), all
    of a tail. With a = (c_k + h - loc) / scale and b = (c_k - h - loc) / scale,
    log P = log sigmoid(a) + log sigmoid(-b) + log(1 - exp(b - a)): no difference of near numbers.

    Parameters
    ----------
    loc, scale : Tensor
        (...), in the unit of c. ``FLOOR`` h is added to the scale: far below a level's width, where
        the masses no longer change, but nothing divides by zero.
    num_levels : int
        n, at least 2.

    Values are whole numbers, of any dtype; drawn ones have the dtype of ``loc``.
    """

    FLOOR = 1e-3
    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(self, loc: Tensor, scale: Tensor, num_levels: int) -> None:
        self.loc, self.raw_scale = torch.broadcast_tensors(loc, scale)
        self.num_levels, self.half = num_levels, 1 / (num_levels - 1)
        self.scale = self.raw_scale + self.FLOOR * self.half
        super().__init__(self.loc.shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """Whole numbers from 0 to n - 1."""
        return constraints.integer_interval(0, self.num_levels - 1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> DiscretizedLogistic:
        """Return the same law with a larger batch shape."""
        shape = torch.Size(batch_shape)
        loc, scale = self.loc.expand(shape), self.raw_scale.expand(shape)
        return DiscretizedLogistic(loc, scale, self.num_levels)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log mass of levels (...): (...)."""
        value, half = value.to(self.loc.dtype), self.half
        centred = value * (2 * half) - 1 - self.loc
        below = F.logsigmoid((centred + half) / self.scale)  # log F at the upper edge
        above = F.logsigmoid((half - centred) / self.scale)  # log (1 - F) at the lower one
        width = (-torch.expm1(-2 * half / self.scale)).log()
        inner = below + above + width
        last = value == self.num_levels - 1
        return torch.where(value == 0, below, torch.where(last, above, inner))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw levels (*sample_shape, ...)."""
        with torch.no_grad():
            shape = self._extended_shape(torch.Size(sample_shape))
            u = torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device)
            tiny = torch.finfo(u.dtype).tiny
            noise = u.clamp(min=tiny).log() - (1 - u).clamp(min=tiny).log()
            return self._nearest(self.loc + self.scale * noise)

    @property
    def mode(self) -> Tensor:
        """The most probable level: the one nearest to loc, or an end with a heavy tail."""
        nearest = self._nearest(self.loc)
        ends = torch.zeros_like(nearest), torch.full_like(nearest, self.num_levels - 1)
        levels = torch.stack([nearest, *ends])
        return levels.gather(0, self.log_prob(levels).argmax(0, keepdim=True))[0]

    def _nearest(self, number: Tensor) -> Tensor:
        top = self.num_levels - 1
        return ((number + 1) * (top / 2)).round().clamp(0, top)


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
        """Return the same law with a larger batch shape: independent draws of it."""
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
            total = torch.cat([checkpoint(self._score, part, **ANEW) for part in rows.split(size)])
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
