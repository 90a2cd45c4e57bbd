"""The few distributions Pyro lacks.

A sequence that feeds on itself, as one sample site (`SequenceDistribution`,
`AutoregressiveNormal`); levels of a rounded logistic number (`DiscretizedLogistic`). Mixtures of
Gaussians: `normal_mixture`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, pi
from typing import Any, Self

import torch
import torch.nn.functional as F
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.kl import register_kl

from ppl_models.sequences import Moments, masked_frames

HALF_LOG_2PI = 0.5 * log(2 * pi)
CHECKPOINT: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}


class SequenceDistribution(TorchDistribution):
    """prod_t p(x_t | x_{1:t-1}), with any distribution of a frame: one site a sequence.

    Parameters
    ----------
    distribution : callable
        From a value (..., T, D), the distributions of its frames: batch shape (..., T), event shape
        (D,). That of frame t may depend on rows before t only; nothing checks it.
    draw : callable
        From a batch shape, a sequence (*shape, T, D): the recursion.
    event_shape : tuple of int
        (T, D).
    batch_shape : tuple of int
        The enclosing plates expand it. `mask` brings its own.
    mask : Tensor of bool, optional
        (..., T), the frames that exist; the others add nothing to the density. A value to be scored
        must be finite there too (`ppl_models.sequences.clean`).
    observed : Tensor of bool, optional
        (..., T, D), the numbers that were seen; likewise. Frames must then be of independent
        numbers.
    fill : callable, optional
        From a value (..., T, D), the same with numbers drawn where it was not seen: the recursion
        again. By default numbers are drawn independently of those seen.
    estimates : bool
        Whether the density is an unbiased estimate, drawn anew whenever it is asked for.

    Raises
    ------
    ValueError
        A value whose last two dims are not `event_shape`.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.independent(constraints.real, 2)

    def __init__(
        self,
        distribution: Callable[[Tensor], Any],
        draw: Callable[[torch.Size], Tensor],
        event_shape: tuple[int, int],
        *,
        batch_shape: tuple[int, ...] = (),
        mask: Tensor | None = None,
        observed: Tensor | None = None,
        fill: Callable[[Tensor], Tensor] | None = None,
        estimates: bool = False,
    ) -> None:
        self.distribution, self.draw, self.mask_frames = distribution, draw, mask
        self.observed, self.fill, self.estimates = observed, fill, estimates
        if observed is not None:
            batch_shape = torch.broadcast_shapes(batch_shape, observed.shape[:-2])
        if mask is not None:
            batch_shape = torch.broadcast_shapes(batch_shape, mask.shape[:-1])
        super().__init__(torch.Size(batch_shape), torch.Size(event_shape), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Self:
        """Return the same distribution with a larger batch shape: independent sequences of it."""
        event, batch = (self.event_shape[0], self.event_shape[1]), tuple(batch_shape)
        new = type(self)(
            self.distribution, self.draw, event, batch_shape=batch, mask=self.mask_frames
        )
        new.observed, new.fill, new.estimates = self.observed, self.fill, self.estimates
        return new

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw sequences (*sample_shape, *batch_shape, T, D)."""
        return self.draw(torch.Size(sample_shape) + self.batch_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of sequences (..., T, D): (...)."""
        return self.score_frames(value).sum(-1)

    def score_frames(self, value: Tensor) -> Tensor:
        """Return log p(x_t | x_{1:t-1}) of every frame: (..., T)."""
        if value.shape[-2:] != self.event_shape:
            raise ValueError(
                f"a sequence of event shape {tuple(self.event_shape)} (frames, dim) is expected, "
                f"got a value of shape {tuple(value.shape)}"
            )
        none = value.new_zeros(value.shape[:-1])
        frames = self.existing(self.score(value)) if value.shape[-2] else none
        return frames.expand(*torch.broadcast_shapes(frames.shape[:-1], self.batch_shape), -1)

    def score(self, value: Tensor) -> Tensor:
        """Return the log density (..., T) of every frame, whether it exists or not."""
        frames = masked_frames(self.distribution(value), None, self.observed)
        density: Tensor = frames.log_prob(value)
        return density

    def complete(self, value: Tensor) -> Tensor:
        """Draw all numbers (*batch_shape, T, D) given those of sequences (..., T, D) seen."""
        if self.fill is None:
            return self.sample()
        return self.fill(value.expand(*self.batch_shape, *self.event_shape))

    def existing(self, frames: Tensor) -> Tensor:
        """Return numbers (..., T), 0 at frames that do not exist."""
        if self.mask_frames is None:
            return frames
        return torch.where(self.mask_frames, frames, torch.zeros_like(frames))


class AutoregressiveNormal(SequenceDistribution):
    """x_t given x_{1:t-1} is N(mean_t, diag scale_t^2), drawn differentiably.

    Density of a path, all frames at once from shifted inputs (teacher forcing):
    log p(x_{1:T}) = sum_t log N(x_t; mean_t(x_{1:t-1}), diag scale_t(x_{1:t-1})^2).

    Parameters
    ----------
    distribution : callable
        From a value (..., T, D), mean and scale of every conditional, each (..., T, D). Row t may
        not depend on frames that the mask excludes either.
    draw : callable
        From a batch shape, a reparametrised path (*shape, T, D).
    event_shape, batch_shape
        Those of `SequenceDistribution`.
    mask : Tensor of bool, optional
        (..., T), the frames that exist. What stands in the others, NaN included, reaches neither
        value nor gradient.
    """

    has_rsample = True
    drawn: Tensor | None = None

    @property
    def moments(self) -> Callable[[Tensor], Moments]:
        """From a value (..., T, D), mean and scale of every conditional."""
        return self.distribution

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw paths (*sample_shape, *batch_shape, T, D), differentiable in the parameters."""
        self.drawn = self.draw(torch.Size(sample_shape) + self.batch_shape)
        return self.drawn

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw paths without a gradient."""
        with torch.no_grad():
            return self.rsample(sample_shape)

    def score(self, value: Tensor) -> Tensor:
        """Return the log density (..., T) of every frame."""
        mean, scale = self.moments(value)
        mask = self.mask_frames
        if mask is not None:  # before any arithmetic, so that no gradient sees the padding
            value = torch.where(mask[..., None], value, mean.detach())
        z = (value - mean) / scale
        return -(0.5 * z * z + scale.log()).sum(-1) - HALF_LOG_2PI * value.shape[-1]


def independent_path(moments: Moments, mask: Tensor | None = None) -> AutoregressiveNormal:
    """Return N(mean, diag scale^2) of paths (..., T, D) whose frames do not read one another."""
    mean, scale = moments

    def draw(batch: torch.Size) -> Tensor:
        noise = torch.randn(*batch, *mean.shape[-2:], dtype=mean.dtype, device=mean.device)
        return torch.addcmul(mean, scale, noise)

    shape = (mean.shape[-2], mean.shape[-1])
    return AutoregressiveNormal(
        lambda x: moments, draw, shape, batch_shape=tuple(mean.shape[:-2]), mask=mask
    )


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
    if not x.shape[-2]:
        return x.new_zeros(q.batch_shape)
    frames = q.existing(normal_kl(q.moments(x), p.moments(x)))
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
        """Return the same distribution with a larger batch shape."""
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
