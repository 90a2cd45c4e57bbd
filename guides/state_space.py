r"""Guides of linear-Gaussian motion, all exact: the posteriors of `ppl_models.state_space`.

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
from torch import Tensor, nn

from guides.source import Evidence, SourcePosterior
from ppl_models.errors import InputError
from ppl_models.state_space import LinearMotion


class LinearMotionGuide(nn.Module):
    """Exact posteriors of `LinearMotion`; it has no parameters of its own.

    Parameters
    ----------
    story : LinearMotion
        Read by reference.
    causal : bool
        Whether `source_posterior` filters (looks at s_{1:t} only) or smooths.
    """

    def __init__(self, story: LinearMotion, *, causal: bool = False) -> None:
        super().__init__()
        self._story, self.causal = (story,), causal

    @property
    def story(self) -> LinearMotion:
        """The story looked back at."""
        return self._story[0]

    def forward(
        self,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        size: int = 1,
        length: int = 60,
    ) -> Tensor:
        """Draw z (B, T, D) for B whole paths s (B, T, D)."""
        if s is None:
            raise InputError("s", "None", "paths (B, T, D)", "simulate with the story alone")
        if mask is not None and not bool(mask.all()):
            raise InputError(
                "mask", "missing frames", "whole paths", "pass evidence to source_posterior"
            )
        with pyro.plate("data", s.shape[0], dim=-1):
            return self.path(s)

    def path(self, s: Tensor, mask: Tensor | None = None) -> Tensor:
        """Look back at one path in each place of the enclosing plates; return z."""
        return pyro.sample("z", self.velocity(s))

    def velocity(self, s: Tensor) -> PathNormal:
        """Return p(z | s) of paths s (..., T, D), event (T, D)."""
        story, length = self.story, s.shape[-2]
        seen = (-2 * story.log_position_noise).exp()
        kept = (-2 * story.log_speed_noise).exp()
        eye = torch.eye(length, dtype=s.dtype, device=s.device)
        shift = torch.diag_embed(eye.new_ones(length - 1), -1)
        steps = eye - story.decay[:, None, None] * shift  # (D, T, T): z_t - decay z_{t-1}
        weight = kept[:, None].repeat(1, length)
        weight[:, 0] = (-2 * story.log_speed).exp()
        observed = seen[:, None].repeat(1, length)
        observed[:, 0] = 0.0  # no step leads to the first frame
        precision = steps.mT @ (weight[..., None] * steps) + torch.diag_embed(observed)
        step = torch.cat([torch.zeros_like(s[..., :1, :]), s.diff(dim=-2)], -2)
        tril = torch.linalg.cholesky(precision)
        loc = torch.cholesky_solve((seen * step).mT[..., None], tril)[..., 0].mT
        return PathNormal(loc, tril)

    @torch.no_grad()
    def source_posterior(
        self,
        evidence: Evidence,
        previous_mean: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> SourcePosterior:
        """Return q(s) = p(s | evidence), evidence (..., T, D), and its exact rate.

        Exact, so nothing of the iteration before (``previous_mean``) nor any draw (``noise``) is
        needed. The rate is KL(q(s, z) || p(s, z)). A filter (``causal``) is no posterior of the
        whole path: its rate is NaN.
        """
        filtered, log_evidence = self._filter(evidence)
        if self.causal:
            mean, variance = _stack(filtered)
            return SourcePosterior(mean, variance, torch.full_like(log_evidence, math.nan))
        mean, variance = self._smooth(filtered)
        second = mean**2 + variance
        expected = (evidence.weighted * mean - 0.5 * evidence.precision * second).sum((-2, -1))
        return SourcePosterior(mean, variance, expected - log_evidence)

    def _filter(self, evidence: Evidence) -> tuple[list[_Gaussian], Tensor]:
        r"""Return the filtered states, and log E_p[exp(weighted s - precision s^2 / 2)]."""
        belief, filtered = self._start(evidence.precision[..., 0, :]), []
        gains, fits = [], []
        frames = zip(evidence.precision.unbind(-2), evidence.weighted.unbind(-2), strict=True)
        for t, (precision, weighted) in enumerate(frames):
            if t:
                belief = self._predict(belief)
            gain = 1 / (1 + precision * belief.ss)
            fit = weighted * (weighted * belief.ss + 2 * belief.s) - precision * belief.s**2
            fits.append(fit * gain)
            gains.append(gain)
            belief = belief.learn(precision, weighted, gain)
            filtered.append(belief)
        total = torch.stack(gains, -2).log() + torch.stack(fits, -2)
        return filtered, 0.5 * total.sum((-2, -1))

    def _smooth(self, filtered: list[_Gaussian]) -> tuple[Tensor, Tensor]:
        """Rauch-Tung-Striebel: mean and variance of each s_t given all evidence."""
        smoothed = [filtered[-1]]
        for belief in filtered[-2::-1]:
            smoothed.append(belief.look_back(self._predict(belief), smoothed[-1], self._decay))
        return _stack(smoothed[::-1])

    @property
    def _decay(self) -> Tensor:
        return self.story.decay

    def _start(self, like: Tensor) -> _Gaussian:
        zero = torch.zeros_like(like)
        speed = (2 * self.story.log_speed).exp().expand_as(like)
        return _Gaussian(zero, zero, zero + self.story.start_scale**2, zero, speed)

    def _predict(self, now: _Gaussian) -> _Gaussian:
        """One frame on: z' = decay z + noise, s' = s + z' + noise."""
        story, a = self.story, self._decay
        z, sz, zz = a * now.z, a * now.sz, a * a * now.zz + (2 * story.log_speed_noise).exp()
        ss = now.ss + 2 * sz + zz + (2 * story.log_position_noise).exp()
        return _Gaussian(now.s + z, z, ss, sz + zz, zz)


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

    def look_back(self, predicted: _Gaussian, later: _Gaussian, decay: Tensor) -> _Gaussian:
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
    """Gaussian over paths, coordinates apart: loc (..., T, D), precision tril (D, T, T)."""

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.independent(constraints.real, 2)
    has_rsample = True

    def __init__(self, loc: Tensor, precision_tril: Tensor) -> None:
        self.loc, self.precision_tril = loc, precision_tril
        super().__init__(loc.shape[:-2], loc.shape[-2:], validate_args=False)

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> PathNormal:
        """Return the same law in each place of a larger batch."""
        return PathNormal(self.loc.expand(*batch_shape, *self.event_shape), self.precision_tril)

    def rsample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Draw paths (sample_shape, batch, T, D)."""
        noise = self.loc.new_empty(*sample_shape, *self.batch_shape, *self.event_shape).normal_()
        white = noise.mT[..., None]
        drawn = torch.linalg.solve_triangular(self.precision_tril.mT, white, upper=True)
        return self.loc + drawn[..., 0].mT

    def log_prob(self, value: Tensor) -> Tensor:
        """Score paths (..., T, D)."""
        error = (value - self.loc).mT[..., None, :] @ self.precision_tril
        log_det = self.precision_tril.diagonal(dim1=-2, dim2=-1).log().sum()
        size = self.loc.shape[-1] * self.loc.shape[-2]
        return log_det - 0.5 * size * math.log(2 * math.pi) - 0.5 * (error**2).sum((-3, -2, -1))


def _stack(states: Sequence[_Gaussian]) -> tuple[Tensor, Tensor]:
    """Mean and variance of the positions, (..., T, D)."""
    return torch.stack([x.s for x in states], -2), torch.stack([x.ss for x in states], -2)
