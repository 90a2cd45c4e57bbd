r"""Linear-Gaussian motion: the constant-velocity model, the anchor of the dynamical VAEs.

Each coordinate d by itself, in the frame of the object:

.. math::
    z_1 \sim N(0, \nu_d^2), \qquad z_t \sim N(\alpha_d z_{t-1}, \sigma_d^2), \qquad
    s_1 \sim N(0, \varsigma^2), \qquad s_t \sim N(s_{t-1} + z_t, \epsilon_d^2).

It is a dynamical VAE in which every network is linear and z is the velocity, so all of its
posteriors are exact (`guides.linear_motion`).

======  ==========================  ===========
site    batch shape                 event shape
======  ==========================  ===========
``z``   the plates around `path`    (T, D)
``s``   the plates around `path`    (T, D)
======  ==========================  ===========

References: Y. Ban et al., "Variational Bayesian inference for audio-visual tracking of multiple
speakers", TPAMI 2021, arXiv:1809.10961 (the VKF baseline of seeds 000 and 001); R. E. Kalman 1960.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyro
import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor, nn

from ppl_models.errors import InputError
from ppl_models.sequences import SequenceModel, clean, shift

BOX_SPEED = (0.02, 0.02, 0.01, 0.01)
BOX_SPEED_NOISE = (0.002, 0.002, 0.001, 0.001)
BOX_DECAY = (1.0, 1.0, 0.9, 0.9)
BOX_POSITION_NOISE = (0.01, 0.01, 0.01, 0.01)


class LinearMotion(SequenceModel):
    """Constant velocity with noise, one object's path (T, D) a place of the enclosing plates.

    The defaults are for boxes (centre x, centre y, log width, log height) in units of the box's
    height: people walk at some 0.02 heights a frame at 30 frames a second, and change their
    velocity by that much within some three seconds (0.002 sqrt(100)); each step has besides 1 % of
    a height of its own, from gait and the box's wobble. The size in the image drifts, but does not
    run away.

    Parameters
    ----------
    speed : sequence of float
        nu (D): standard deviation of the first velocity, in units a frame.
    speed_noise : sequence of float
        sigma (D): change of velocity a frame.
    position_noise : sequence of float
        epsilon (D): what is left of a step beside its velocity.
    decay : sequence of float
        alpha (D): share of the velocity that lives on to the next frame, in (0, 1].
    start_scale : float
        varsigma: standard deviation of the first position, in units.
    """

    decay: Tensor

    def __init__(
        self,
        speed: Sequence[float] = BOX_SPEED,
        speed_noise: Sequence[float] = BOX_SPEED_NOISE,
        position_noise: Sequence[float] = BOX_POSITION_NOISE,
        decay: Sequence[float] = BOX_DECAY,
        start_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.log_speed = _log(speed)
        self.log_speed_noise = _log(speed_noise)
        self.log_position_noise = _log(position_noise)
        self.register_buffer("decay", torch.tensor(list(decay)))
        self.start_scale = start_scale
        self.data_dim = self.latent_dim = len(self.decay)

    def path(
        self,
        length: int,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        observed: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Sample one path in each place of the enclosing plates; return (z, s).

        Raises
        ------
        InputError
            Numbers that were not seen: a frame is read by the one after it.
        """
        if observed is not None:
            cure = "take an LDS for paths with gaps, or cut them there and pass mask="
            raise InputError("observed", "gaps in paths", "paths seen as a whole", cure)
        speed, start = self.log_speed.exp(), torch.full_like(self.log_speed, self.start_scale)
        still = self.log_speed.new_zeros(length, self.data_dim)
        z = pyro.sample("z", Walk(still, self.log_speed_noise.exp(), speed, self.decay, mask))
        drift = torch.cat([torch.zeros_like(z[..., :1, :]), z[..., 1:, :]], -2)
        walk = Walk(drift, self.log_position_noise.exp(), start, torch.ones_like(start), mask)
        s = pyro.sample("s", walk, obs=s)
        return z, s


class Walk(TorchDistribution):
    r"""Gaussian walk: x_1 ~ N(drift_1, start^2), x_t ~ N(decay x_{t-1} + drift_t, scale^2).

    Shapes: drift (..., T, D), scale, start and decay (D); mask (..., T) of the frames that exist.
    Event shape (T, D); all frames are scored at once.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.independent(constraints.real, 2)
    has_rsample = True

    def __init__(
        self,
        drift: Tensor,
        scale: Tensor,
        start: Tensor,
        decay: Tensor,
        mask: Tensor | None = None,
    ) -> None:
        self.drift, self.scale, self.start, self.decay = drift, scale, start, decay
        self.mask_frames = mask
        batch = drift.shape[:-2]
        if mask is not None:
            batch = torch.broadcast_shapes(batch, mask.shape[:-1])
        super().__init__(batch, drift.shape[-2:], validate_args=False)

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> Walk:
        """Return the same walk in each place of a larger batch."""
        drift = self.drift.expand(*batch_shape, *self.drift.shape[-2:])
        mask = self.mask_frames
        mask = None if mask is None else mask.expand(*batch_shape, mask.shape[-1])
        return Walk(drift, self.scale, self.start, self.decay, mask)

    def rsample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Draw paths (sample_shape, batch, T, D)."""
        noise = self.drift.new_empty(*sample_shape, *self.batch_shape, *self.event_shape).normal_()
        steps = (self.drift + self._scales() * noise).unbind(-2)
        path = [steps[0]]
        for step in steps[1:]:
            path.append(self.decay * path[-1] + step)
        return torch.stack(path, -2)

    def log_prob(self, value: Tensor) -> Tensor:
        """Score paths (..., T, D); frames that do not exist count nothing, whatever they hold."""
        value, drift = clean(value, self.mask_frames), clean(self.drift, self.mask_frames)
        scales = self._scales()
        error = (value - self.decay * shift(value) - drift) / scales
        each = (-0.5 * error**2 - scales.log() - 0.5 * math.log(2 * math.pi)).sum(-1)
        if self.mask_frames is not None:
            each = torch.where(self.mask_frames, each, torch.zeros_like(each))
        return each.sum(-1)

    def _scales(self) -> Tensor:
        """Standard deviation of each step, (T, D)."""
        rest = self.scale.expand(self.event_shape[0] - 1, -1)
        return torch.cat([self.start[None], rest])


def _log(values: Sequence[float]) -> nn.Parameter:
    return nn.Parameter(torch.tensor(list(values)).log())
