r"""The E-S step of Lin et al.: a source's path inferred from evidence, by a DVAE's recursion.

For each source, forward in t, with the means so far in place of the path:

.. math::
    (\mu_t, v_t) = p_\theta(s_t \mid m_{1:t-1}, z_t), \qquad
    V_t = (\mathrm{precision}_t + v_t^{-1})^{-1}, \qquad
    m_t = V_t (\mathrm{weighted}_t + v_t^{-1} \mu_t).

Nothing is differentiated, and the loops hold a few small kernels a frame: what can be computed for
all frames at once is, before or after them.

Source: X. Lin et al., "Mixture of dynamical variational autoencoders for multi-source trajectory
modeling and separation", TMLR 2023, the E-S step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ppl_models.dvae import SRNN, DeepAR, Motion
from ppl_models.errors import InputError
from ppl_models.networks import Conditional, ConditionalNormal
from ppl_models.sequences import Moments


class Evidence(NamedTuple):
    r"""The likelihood of a source's path, frame by frame: a Gaussian in natural parameters.

    As a function of s_t it is exp(-1/2 sum_k eta_tk (o_tk - s_t)' Phi_tk^{-1} (o_tk - s_t)), with
    eta_tk the responsibility of the source for detection k and Phi_tk diagonal.
    """

    precision: Tensor
    r"""(..., T, D): :math:`\sum_k \eta_{tk} \Phi_{tk}^{-1}`; 0 where nothing is detected."""
    weighted: Tensor
    r"""(..., T, D): :math:`\sum_k \eta_{tk} \Phi_{tk}^{-1} o_{tk}`."""


class SourcePosterior(NamedTuple):
    """Marginals of q(s), and what it costs against the prior that it was made with."""

    mean: Tensor
    """(..., T, D): m_t."""
    variance: Tensor
    """(..., T, D): the diagonal of V_t."""
    rate: Tensor
    r"""(...): nats that q costs against a plug-in prior, whose networks read one path of means.

    sum_t KL(N(m_t, V_t) || N(mu_t, v_t)) + KL(q(z_t | z_{t-1}) || p(z_t | z_{t-1})), with the past
    in p(s_t | s_{1:t-1}, z_t) and p(z_t | s_{1:t-1}, z_{t-1}) at its mean, and z the one path
    drawn: uncertainty about what the networks read costs nothing. So E_q log p(o | s) - rate is an
    objective to climb, and no bound where the prior has networks; `guides.dvae.motion_rate`
    estimates E_q[log q(s, z) - log p(s, z)], with which it is one. Exact for `LinearMotion`.
    """


def motion_of(model: SRNN | DeepAR) -> Motion:
    """Return the model's likelihood of paths.

    Raises
    ------
    InputError
        It has another likelihood.
    """
    if not isinstance(model.likelihood, Motion):
        found, cure = type(model.likelihood).__name__, "give the model likelihood=Motion(data_dim)"
        raise InputError("model", f"likelihood {found}", "Motion, the paths of objects", cure)
    return model.likelihood


def sample_latents(
    encoder: ConditionalNormal, projected: Tensor, noise: Tensor
) -> tuple[Tensor, Moments]:
    """Run z_t = mean(c_t, z_{t-1}) + scale(c_t, z_{t-1}) noise_t; return z and its moments.

    Shapes: projected (..., T, hidden[0]), what c_t adds to the encoder's first layer, noise
    (..., T, L) -> z, mean and scale (..., T, L).
    """
    batch, width = noise.shape[:-2], noise.shape[-1]
    feedback = encoder.input.weight[:, :width].t()  # type: ignore[union-attr]
    layers, zs, raws = _layers(encoder), list[Tensor](), list[Tensor]()
    z = noise.new_zeros(batch.numel(), width)
    for frame, e in zip(frames(projected), frames(noise), strict=True):
        raw = _apply(layers, torch.addmm(frame, z, feedback))
        z = torch.addcmul(*encoder.split(raw), e)
        zs.append(z)
        raws.append(raw)
    return stacked(zs, batch), encoder.split(stacked(raws, batch))


def filter_source(
    model: SRNN | DeepAR, evidence: Evidence, z: Tensor | None = None
) -> tuple[SourcePosterior, Tensor]:
    """Run the recursion of m_t and V_t; return the posterior (its rate that of s alone) and h.

    Shapes: evidence (..., T, D), z (..., T, L) -> mean and variance (..., T, D), rate (...),
    h (..., T, H).

    Raises
    ------
    InputError
        The model's likelihood is not `Motion`.
    """
    batch, length = evidence.precision.shape[:-2], evidence.precision.shape[-2]
    recursion = _Recursion(model, batch.numel())
    rows = zip(*map(frames, evidence), _latent_share(model, z, length), strict=True)
    one, steps = torch.ones_like(recursion.move), list[tuple[Tensor, ...]]()
    for precision, weighted, latent in rows:
        mu, v = recursion.predict(latent)
        mean = torch.addcmul(mu, weighted, v) / torch.addcmul(one, precision, v)
        recursion.follow(mean)
        steps.append((recursion.state[0], mu, v, mean))
    h, mu, v, mean = (stacked(part, batch) for part in zip(*steps, strict=True))
    left = 1 / (1 + evidence.precision * v)  # V / v
    rate = 0.5 * (left - 1 - left.log() + (mean - mu) ** 2 / v).sum((-2, -1))
    return SourcePosterior(mean, left * v, rate), h


class _Recursion:
    """A model's recursion, its weights laid out for a loop and in the units of s."""

    def __init__(self, model: SRNN | DeepAR, count: int) -> None:
        self.motion, emission = motion_of(model), model.emission
        unit = self.motion.unit
        weight, bias = model.reader.parameters()
        self.reader = bias, (weight / unit).t()
        self.cell = model.recurrence.weights()
        self.context = emission.context.weight.t()
        *inner, last = _layers(emission)
        rows = torch.cat([unit, torch.ones_like(unit)])
        to_units = torch.cat([torch.zeros_like(unit), 2 * unit.log()])
        self.layers = [*inner, (last[0] * rows + to_units, last[1] * rows)]
        self.floor = (self.motion.floor * unit) ** 2 if self.motion.floor else None
        self.state = model.recurrence.start((count,), unit)
        self.move = self.carried = unit.new_zeros(count, len(unit))
        self.last: Tensor | None = None
        self.inertia = None if self.motion.inertia is None else self.motion.inertia.rates()

    def predict(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance (count, D) of the next frame."""
        read = torch.addmm(self.reader[0], self.move, self.reader[1]).tanh()
        self.state = torch.lstm_cell(read, self.state, *self.cell)
        raw = _apply(self.layers, torch.addmm(latent, self.state[0], self.context))
        mu, v = raw.chunk(2, -1)
        v = v.exp() if self.floor is None else v.exp() + self.floor
        if not self.motion.increments:
            return mu, v
        if self.last is None:
            return torch.zeros_like(mu), torch.full_like(v, self.motion.start_scale**2)
        if self.inertia is not None:
            share, keep = self.inertia
            self.carried = torch.addcmul(keep * self.carried, 1 - keep, self.move)
            mu = torch.addcmul(mu, share, self.carried)
        return self.last + mu, v

    def follow(self, frame: Tensor) -> None:
        """Take (count, D) as the positions in this frame."""
        if not self.motion.increments:
            self.move = frame
        elif self.last is not None:
            self.move = frame - self.last
        self.last = frame


def _latent_share(model: SRNN | DeepAR, z: Tensor | None, length: int) -> Sequence[Tensor]:
    """Return what z_t and the bias add to the emission's first layer, for each frame."""
    bias = model.emission.context.bias
    if z is None or model.emission.input is None:
        return [bias] * length
    return frames(model.emission.input(z) + bias)


def _layers(net: Conditional) -> list[tuple[Tensor, Tensor]]:
    """Bias and transposed weight of each layer after the first."""
    return [(m.bias, m.weight.t()) for m in net.head.modules() if isinstance(m, nn.Linear)]


def _apply(layers: Sequence[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    for bias, weight in layers:
        x = torch.addmm(bias, x.tanh(), weight)
    return x


def frames(x: Tensor) -> tuple[Tensor, ...]:
    """Return T contiguous tensors (numel(...), D) from one (..., T, D)."""
    return x.reshape(-1, *x.shape[-2:]).transpose(0, 1).contiguous().unbind(0)


def stacked(parts: Sequence[Tensor], batch: torch.Size) -> Tensor:
    """Return one tensor (*batch, T, D) from T tensors (numel(batch), D)."""
    return torch.stack(list(parts), 1).reshape(*batch, len(parts), -1)
