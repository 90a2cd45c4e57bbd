r"""Guides of linear-Gaussian motion, all exact: the posteriors of `ppl_models.linear_motion`.

* `LinearMotionGuide.path`: p(z | s), the velocities of a known path.
* `LinearMotionGuide.source_posterior`: q(s) given evidence on s, by the Kalman filter and the
  Rauch-Tung-Striebel smoother; with ``causal=True`` by the filter alone, the VKF of seeds 000/001.

The coordinates do not touch, so every covariance is a 2 x 2 matrix of position and velocity,
written out (`_Gaussian`): a frame of the recursions is some twenty small kernels for a whole batch.

References: Y. Ban et al., arXiv:1809.10961, sec. IV (VKF); H. E. Rauch, F. Tung, C. T. Striebel,
"Maximum likelihood estimates of linear dynamic systems", AIAA J. 1965.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import pyro
import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor

from guides.base import ReadingGuide, needed
from guides.dvae import Evidence, SourcePosterior
from ppl_models.linear_motion import LinearMotion
from ppl_models.sequences import check_paths, clean


class LinearMotionGuide(ReadingGuide[LinearMotion]):
    """Exact posteriors of `LinearMotion`; it has no parameters of its own.

    Parameters
    ----------
    model : LinearMotion
        Read by reference.
    causal : bool
        Whether `source_posterior` filters (from s_{1:t} only) or smooths.
    """

    def __init__(self, model: LinearMotion, *, causal: bool = False) -> None:
        super().__init__(model)
        self.causal = causal

    def forward(
        self,
        s: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Sample z (B, T, D) for B paths s (B, T, D)."""
        s = needed(s)
        check_paths(s, mask, self.model.data_dim)
        with pyro.plate("data", s.shape[0], dim=-1):
            return self.path(s, mask)

    def path(self, s: Tensor, mask: Tensor | None = None) -> Tensor:
        """Sample z for a path in each place of the enclosing plates; return it."""
        return pyro.sample("z", self.velocity(s, mask))

    def velocity(self, s: Tensor, mask: Tensor | None = None) -> PathNormal:
        """Return p(z | s) of paths s (..., T, D) with mask (..., T), event (T, D).

        ``mask`` says which frames exist, the first ones of each path.
        """
        model, length, s = self.model, s.shape[-2], clean(s, mask)
        emission = (-2 * model.log_position_noise).exp()
        kept = (-2 * model.log_speed_noise).exp()
        eye = torch.eye(length, dtype=s.dtype, device=s.device)
        before = torch.diag_embed(eye.new_ones(length - 1), -1)
        steps = eye - model.decay[:, None, None] * before  # (D, T, T): z_t - decay z_{t-1}
        weight = kept[:, None].repeat(1, length)
        weight[:, 0] = (-2 * model.log_speed).exp()
        observed = emission[:, None].repeat(1, length)
        observed[:, 0] = 0.0  # no step leads to the first frame
        precision = steps.mT @ (weight[..., None] * steps) + torch.diag_embed(observed)
        tril = torch.linalg.cholesky(precision)
        scale = None if mask is None else _scale_of_ends(tril, mask, model.decay**2 * kept)
        pull = clean(
            emission * torch.cat([torch.zeros_like(s[..., :1, :]), s.diff(dim=-2)], -2), mask
        )
        white = _solve(tril, pull) * (1 if scale is None else scale**2)
        return PathNormal(_solve(tril, white, transpose=True), tril, scale)

    @torch.no_grad()
    def source_posterior(
        self,
        evidence: Evidence,
        previous_mean: Tensor | None = None,
        noise: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> SourcePosterior:
        """Return q(s) = p(s | evidence), evidence (..., T, D), and its exact rate.

        Exact, so nothing of the iteration before (``previous_mean``) nor any draw (``noise``) is
        needed; nor ``mask``, since frames that nothing is seen in or after cost nothing. The rate
        is KL(q(s, z) || p(s, z)). A filter (``causal``) is no posterior of the whole path: its rate
        is NaN.

        The recursions are in double precision whatever the evidence is: after a gap of T frames
        they subtract variances of order T^3 from each other.
        """
        dtype = evidence.precision.dtype
        precision, weighted = (part.double() for part in evidence)
        track = self._filter(precision, weighted)
        if self.causal:
            mean, variance = _stack([state for state, _ in track.states])
            rate = torch.full_like(track.log_evidence, math.nan)
        else:
            mean, variance = _stack(self._smooth(track))
            second = mean**2 + variance
            expected = (weighted * mean - 0.5 * precision * second).sum((-2, -1))
            rate = expected - track.log_evidence
        return SourcePosterior(mean.to(dtype), variance.to(dtype), rate.to(dtype))

    def _filter(self, precisions: Tensor, weights: Tensor) -> _Track:
        """Kalman's filter, on natural parameters of the evidence."""
        step = _Step.of(self.model)
        ahead = step.start(precisions[..., 0, :])
        states, gains, fits = [], [], []
        for precision, weighted in zip(precisions.unbind(-2), weights.unbind(-2), strict=True):
            gain = 1 / (1 + precision * ahead.ss)
            fit = weighted * (weighted * ahead.ss + 2 * ahead.s) - precision * ahead.s**2
            fits.append(fit * gain)
            gains.append(gain)
            now = ahead.learn(precision, weighted, gain)
            ahead = step.predict(now)
            states.append((now, ahead))
        total = torch.stack(gains, -2).log() + torch.stack(fits, -2)
        return _Track(states, 0.5 * total.sum((-2, -1)))

    def _smooth(self, track: _Track) -> list[_Gaussian]:
        """Rauch-Tung-Striebel: each state given all evidence."""
        decay = self.model.decay.double()
        smoothed = [track.states[-1][0]]
        for now, ahead in track.states[-2::-1]:
            smoothed.append(now.smooth(ahead, smoothed[-1], decay))
        return smoothed[::-1]


class _Track(NamedTuple):
    """What the filter found."""

    states: list[tuple[_Gaussian, _Gaussian]]
    """Of each frame: the state given the evidence so far, and the next one predicted from it."""
    log_evidence: Tensor
    r"""(...): log E_p[exp(sum_t weighted_t s_t - precision_t s_t^2 / 2)]."""


class _Step(NamedTuple):
    """The constants of a model, in double precision."""

    decay: Tensor
    speed_noise: Tensor
    position_noise: Tensor
    speed: Tensor
    start_scale: float

    @classmethod
    def of(cls, model: LinearMotion) -> _Step:
        return cls(
            model.decay.double(),
            (2 * model.log_speed_noise.double()).exp(),
            (2 * model.log_position_noise.double()).exp(),
            (2 * model.log_speed.double()).exp(),
            model.start_scale,
        )

    def start(self, like: Tensor) -> _Gaussian:
        """Return the state before any evidence."""
        zero = torch.zeros_like(like)
        return _Gaussian(zero, zero, zero + self.start_scale**2, zero, self.speed.expand_as(like))

    def predict(self, now: _Gaussian) -> _Gaussian:
        """One frame on: z' = decay z + noise, s' = s + z' + noise."""
        z, sz = self.decay * now.z, self.decay * now.sz
        zz = self.decay**2 * now.zz + self.speed_noise
        return _Gaussian(now.s + z, z, now.ss + 2 * sz + zz + self.position_noise, sz + zz, zz)


class _Gaussian(NamedTuple):
    """Means of position s and velocity z, and their covariance, each (..., D)."""

    s: Tensor
    z: Tensor
    ss: Tensor
    sz: Tensor
    zz: Tensor

    def learn(self, precision: Tensor, weighted: Tensor, gain: Tensor) -> _Gaussian:
        """Condition on evidence; ``gain`` is 1 / (1 + precision ss)."""
        news = (weighted - precision * self.s) * gain
        share = precision * gain
        return _Gaussian(
            self.s + self.ss * news,
            self.z + self.sz * news,
            self.ss * gain,
            self.sz * gain,
            self.zz - self.sz**2 * share,
        )

    def smooth(self, predicted: _Gaussian, later: _Gaussian, decay: Tensor) -> _Gaussian:
        """Condition this filtered state on the smoothed one that follows it."""
        # cov(now, next) = P F', with F = [[1, a], [0, a]]; gain G = P F' (predicted covariance)^-1
        c_ss, c_sz = self.ss + decay * self.sz, decay * self.sz
        c_zs, c_zz = self.sz + decay * self.zz, decay * self.zz
        det = predicted.ss * predicted.zz - predicted.sz**2
        g_ss = (c_ss * predicted.zz - c_sz * predicted.sz) / det
        g_sz = (c_sz * predicted.ss - c_ss * predicted.sz) / det
        g_zs = (c_zs * predicted.zz - c_zz * predicted.sz) / det
        g_zz = (c_zz * predicted.ss - c_zs * predicted.sz) / det
        ds, dz = later.s - predicted.s, later.z - predicted.z
        d_ss, d_sz, d_zz = (
            later.ss - predicted.ss,
            later.sz - predicted.sz,
            later.zz - predicted.zz,
        )
        return _Gaussian(
            self.s + g_ss * ds + g_sz * dz,
            self.z + g_zs * ds + g_zz * dz,
            self.ss + g_ss**2 * d_ss + 2 * g_ss * g_sz * d_sz + g_sz**2 * d_zz,
            self.sz + g_ss * g_zs * d_ss + (g_ss * g_zz + g_sz * g_zs) * d_sz + g_sz * g_zz * d_zz,
            self.zz + g_zs**2 * d_ss + 2 * g_zs * g_zz * d_sz + g_zz**2 * d_zz,
        )


class PathNormal(TorchDistribution):
    """Gaussian over paths, coordinates apart, by the Cholesky factor of its precision.

    Shapes: loc (..., T, D), precision_tril (D, T, T), scale (..., T, D); event (T, D). With
    ``scale``, the factor's column t is divided by scale_t; 0 there marks frames that do not exist,
    which are not scored, and drawn as loc.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.independent(constraints.real, 2)
    has_rsample = True

    def __init__(self, loc: Tensor, precision_tril: Tensor, scale: Tensor | None = None) -> None:
        self.loc, self.precision_tril, self.ends = loc, precision_tril, scale
        super().__init__(loc.shape[:-2], loc.shape[-2:], validate_args=False)

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> PathNormal:
        """Return the same distribution in each place of a larger batch."""
        shape = (*batch_shape, *self.event_shape)
        ends = None if self.ends is None else self.ends.expand(shape)
        return PathNormal(self.loc.expand(shape), self.precision_tril, ends)

    def rsample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Draw paths (sample_shape, batch, T, D)."""
        white = self.loc.new_empty(*sample_shape, *self.batch_shape, *self.event_shape).normal_()
        if self.ends is not None:
            white = white * self.ends
        return self.loc + _solve(self.precision_tril, white, transpose=True)

    def log_prob(self, value: Tensor) -> Tensor:
        """Score paths (..., T, D)."""
        there = None if self.ends is None else self.ends[..., 0] > 0
        white = torch.einsum(
            "dtu,...td->...ud", self.precision_tril, clean(value - self.loc, there)
        )
        log_det = self.precision_tril.diagonal(dim1=-2, dim2=-1).log().mT
        if self.ends is not None and there is not None:
            ends = torch.where(there[..., None], self.ends, torch.ones_like(self.ends))
            white, log_det = white / ends, log_det - ends.log()
        each = clean(log_det - 0.5 * white**2 - 0.5 * math.log(2 * math.pi), there)
        return each.sum((-2, -1))


def _scale_of_ends(tril: Tensor, mask: Tensor, ahead: Tensor) -> Tensor:
    """Scale (..., T, D) that makes of whole paths' precision that of paths which end earlier.

    Nothing follows the last frame: its precision loses ``ahead`` (D), which only the last entry of
    the factor's leading block feels. Frames after it get 0.
    """
    whole = torch.ones_like(mask[..., :1])
    last = (mask & ~torch.cat([mask[..., 1:], whole], -1))[..., None]
    square = tril.diagonal(dim1=-2, dim2=-1).mT ** 2
    rest = torch.where(last, square - ahead, square)
    return (square / rest).sqrt() * mask[..., None]


def _solve(tril: Tensor, x: Tensor, *, transpose: bool = False) -> Tensor:
    """Solve L y = x, or L' y = x, in each coordinate: tril (D, T, T), x (..., T, D)."""
    factor = tril.mT if transpose else tril
    columns = x.reshape(-1, *x.shape[-2:]).permute(2, 1, 0)
    solved = torch.linalg.solve_triangular(factor, columns, upper=transpose)
    return solved.permute(2, 1, 0).reshape(x.shape)


def _stack(states: Sequence[_Gaussian]) -> tuple[Tensor, Tensor]:
    """Mean and variance of the positions, (..., T, D)."""
    return torch.stack([x.s for x in states], -2), torch.stack([x.ss for x in states], -2)
