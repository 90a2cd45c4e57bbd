r"""The paper's E-S step: the posterior of one source's path, from evidence and a DVAE's recursion.

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

from ppl_models.dvae import DVAE
from ppl_models.networks import ConditionalNormal
from ppl_models.sequences import Moments


class Evidence(NamedTuple):
    r"""What the detections say of a source, frame by frame: a Gaussian in natural parameters.

    As a function of s_t it is exp(-1/2 sum_k eta_tk (o_tk - s_t)' Phi_tk^{-1} (o_tk - s_t)), with
    eta_tk the responsibility of the source for detection k and Phi_tk diagonal.
    """

    precision: Tensor
    r"""(..., T, D): :math:`\sum_k \eta_{tk} \Phi_{tk}^{-1}`; 0 where nothing is seen."""
    weighted: Tensor
    r"""(..., T, D): :math:`\sum_k \eta_{tk} \Phi_{tk}^{-1} o_{tk}`."""


class SourcePosterior(NamedTuple):
    r"""q(s) = prod_t N(s_t; mean_t, diag variance_t), and what it costs."""

    mean: Tensor
    """(..., T, D): m_t."""
    variance: Tensor
    """(..., T, D): the diagonal of V_t."""
    rate: Tensor
    r"""(...): nats of E_q[log q(s, z) - log p(s, z)]; the ELBO is E_q log p(o | s) - rate.

    sum_t KL(N(m_t, V_t) || N(mu_t, v_t)) + KL(q(z_t | z_{t-1}) || p(z_t | z_{t-1})). The Gaussian
    terms are exact. Plugged in: the past in p(s_t | s_{1:t-1}, z_t) and p(z_t | s_{1:t-1}, z_{t-1})
    stands at its mean m_{1:t-1}, as in the recursion, and z is the one path drawn. So doubt about
    the past costs nothing here: with responsibilities fixed, E_q log p(o | s) - rate is the
    log density with which the recursion predicts the detections, frame after frame, less KL of z.
    """


def draw_latents(
    encoder: ConditionalNormal, context: Tensor, noise: Tensor
) -> tuple[Tensor, Moments]:
    """Run z_t = mean(c_t, z_{t-1}) + scale(c_t, z_{t-1}) noise_t; return z and its moments.

    Shapes: context (..., T, C), noise (..., T, L) -> z, mean and scale (..., T, L).
    """
    batch = noise.shape[:-2]
    feedback, layers = encoder.input.weight.t(), _layers(encoder)  # type: ignore[union-attr]
    z, zs, raws = noise.new_zeros(batch.numel(), noise.shape[-1]), [], []
    for projected, e in zip(frames(encoder.project(context)), frames(noise), strict=True):
        raw = _apply(layers, torch.addmm(projected, z, feedback))
        z = torch.addcmul(*encoder.split(raw), e)
        zs.append(z)
        raws.append(raw)
    return whole(zs, batch), encoder.split(whole(raws, batch))


def filter_source(
    model: DVAE, evidence: Evidence, z: Tensor | None = None
) -> tuple[SourcePosterior, Tensor]:
    """Run the recursion of m_t and V_t; return the posterior (its rate that of s alone) and h.

    Shapes: evidence (..., T, D), z (..., T, L) -> mean and variance (..., T, D), rate (...),
    h (..., T, H).
    """
    batch, length = evidence.precision.shape[:-2], evidence.precision.shape[-2]
    recursion = _Recursion(model, batch.numel())
    told = zip(*map(frames, evidence), _latent_share(model, z, length), strict=True)
    one, steps = torch.ones_like(recursion.move), list[tuple[Tensor, ...]]()
    for precision, weighted, latent in told:
        mu, v = recursion.predict(latent)
        mean = torch.addcmul(mu, weighted, v) / torch.addcmul(one, precision, v)
        recursion.tell(mean)
        steps.append((recursion.state[0], mu, v, mean))
    h, mu, v, mean = (whole(part, batch) for part in zip(*steps, strict=True))
    left = 1 / (1 + evidence.precision * v)  # V / v
    rate = 0.5 * (left - 1 - left.log() + (mean - mu) ** 2 / v).sum((-2, -1))
    return SourcePosterior(mean, left * v, rate), h


class _Recursion:
    """A model's recursion, its weights laid out for a loop and in the units of s."""

    def __init__(self, model: DVAE, count: int) -> None:
        self.motion, emission, unit = model.motion, model.emission, model.motion.unit
        weight, bias = model.reader.parameters()
        self.read = bias, (weight / unit).t()
        self.cell = model.recurrence.weights()
        self.context = emission.context.weight.t()
        *inner, last = _layers(emission)
        rows = torch.cat([unit, torch.ones_like(unit)])
        to_units = torch.cat([torch.zeros_like(unit), 2 * unit.log()])
        self.layers = [*inner, (last[0] * rows + to_units, last[1] * rows)]
        self.floor = (emission.floor * unit) ** 2 if emission.floor else None
        self.state = model.recurrence.start((count,), unit)
        self.move = self.carried = unit.new_zeros(count, len(unit))
        self.last: Tensor | None = None
        if self.motion.inertia:
            self.share, self.keep = self.motion.kept()

    def predict(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance (count, D) of the next frame."""
        read = torch.addmm(self.read[0], self.move, self.read[1]).tanh()
        self.state = torch.lstm_cell(read, self.state, *self.cell)
        raw = _apply(self.layers, torch.addmm(latent, self.state[0], self.context))
        mu, v = raw.chunk(2, -1)
        v = v.exp() if self.floor is None else v.exp() + self.floor
        if not self.motion.increments:
            return mu, v
        if self.last is None:
            return torch.zeros_like(mu), torch.full_like(v, self.motion.start_scale**2)
        if self.motion.inertia:
            self.carried = torch.addcmul(self.keep * self.carried, 1 - self.keep, self.move)
            mu = torch.addcmul(mu, self.share, self.carried)
        return self.last + mu, v

    def tell(self, frame: Tensor) -> None:
        """Say where (count, D) the paths were in this frame."""
        if not self.motion.increments:
            self.move = frame
        elif self.last is not None:
            self.move = frame - self.last
        self.last = frame


def _latent_share(model: DVAE, z: Tensor | None, length: int) -> Sequence[Tensor]:
    """Return what z_t and the bias add to the emission's first layer, for each frame."""
    bias = model.emission.context.bias
    if z is None or model.emission.input is None:
        return [bias] * length
    return frames(model.emission.input(z) + bias)


def _layers(net: ConditionalNormal) -> list[tuple[Tensor, Tensor]]:
    """Bias and transposed weight of each layer after the first."""
    return [(m.bias, m.weight.t()) for m in net.head.modules() if isinstance(m, nn.Linear)]


def _apply(layers: Sequence[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    for bias, weight in layers:
        x = torch.addmm(bias, x.tanh(), weight)
    return x


def frames(x: Tensor) -> tuple[Tensor, ...]:
    """Return T contiguous tensors (numel(...), D) from one (..., T, D)."""
    return x.reshape(-1, *x.shape[-2:]).transpose(0, 1).contiguous().unbind(0)


def whole(parts: Sequence[Tensor], batch: torch.Size) -> Tensor:
    """Return one tensor (*batch, T, D) from T tensors (numel(batch), D)."""
    return torch.stack(list(parts), 1).reshape(*batch, len(parts), -1)
