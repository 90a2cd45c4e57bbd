r"""The likelihood of sound: complex Gaussian bins of a short-time Fourier transform.

.. math:: x_f \sim N_c(0, v_f), \qquad p(|x_f|^2) = \mathrm{Exponential}(1 / v_f), \qquad
    \log p(|x|^2) = -\log v - |x|^2 / v.

The phase is uniform and independent of v, so a model of powers |x|^2 is the model of the complex
bins: their log density is lower by log(pi) a bin. Up to a term without v, minus the log density is
the Itakura-Saito divergence |x|^2 / v - log(|x|^2 / v) - 1.

Reference: C. Fevotte, N. Bertin, J.-L. Durrieu, "Nonnegative matrix factorization with the
Itakura-Saito divergence", Neural Computation 2009, section 3.
"""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from ppl_models.errors import InputError
from ppl_models.inputs import check_positive
from ppl_models.likelihoods.basic import Likelihood

QUIET = 1e-6
"""Power below which sounds are taken for silence, where a sound's largest sample is 1: some 90 dB
below the power of a soft voice, and above the rounding of 16 bits."""


class Power(TorchDistribution):
    """|x|^2 of a circular complex Gaussian x of variance v (...): Exponential with mean v."""

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, variance: Tensor) -> None:
        self.variance_of_x = variance
        super().__init__(variance.shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Power:
        """Return the same distribution with a larger batch shape."""
        return Power(self.variance_of_x.expand(batch_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of powers (...): (...)."""
        density: Tensor = _LogDensity.apply(self.variance_of_x, value)
        return density

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw powers (*sample_shape, ...)."""
        v = self.variance_of_x
        return v * v.new_empty(self._extended_shape(torch.Size(sample_shape))).exponential_()

    @property
    def mean(self) -> Tensor:
        """E |x|^2 = v."""
        return self.variance_of_x


class _LogDensity(torch.autograd.Function):
    """-log v - y / v of powers y, with its gradient in half the passes that autograd makes."""

    generate_vmap_rule = True

    @staticmethod
    def forward(v: Tensor, y: Tensor) -> Tensor:
        """Return the log density (...), shapes broadcast."""
        return (y / v).add_(v.log()).neg_()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Keep v and y."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return (y / v - 1) / v and -1 / v times the gradient."""
        v, y = ctx.saved_tensors
        share, of_y = grad / v, None
        if ctx.needs_input_grad[1]:
            of_y = (-share).sum_to_size(y.shape)
        return (share * (y / v - 1)).sum_to_size(v.shape), of_y


class ComplexGaussian(Likelihood):
    """x_f ~ N_c(0, v_f), observed as powers |x_f|^2 (..., D): log v_f = centre_f + spread raw_f.

    Encoders read (log(|x_f|^2 + floor) - centre_f) / spread. `start_from` takes centre and spread
    from data, so that networks read and write numbers of order 1.

    Parameters
    ----------
    data_dim : int
        D, frequencies.
    floor : float
        Least variance. Where there is digital silence the density would have no bound without it.
    """

    reader: LogPower

    def __init__(self, data_dim: int, floor: float = QUIET) -> None:
        super().__init__(data_dim, data_dim, LogPower(data_dim, check_positive("floor", floor)))

    def distribution(self, raw: Tensor) -> TorchDistribution:
        """Return the distribution of D powers."""
        log_variance = torch.addcmul(self.reader.centre, raw, self.reader.spread)
        return Power(log_variance.exp() + self.reader.floor)

    def start_from(self, s: Tensor, mask: Tensor | None = None) -> ComplexGaussian:
        """Take centre and spread from frames (..., D) of powers; return self.

        Raises
        ------
        InputError
            They are no powers, or of other frequencies.
        """
        frames = s[mask] if mask is not None else s.reshape(-1, s.shape[-1])
        if frames.shape[-1] != self.data_dim or len(frames) == 0:
            found, cure = f"shape {tuple(s.shape)}", "give frames of powers, and their mask"
            raise InputError("s", found, f"one frame or more (..., {self.data_dim})", cure)
        self._look(frames)
        levels = (frames + self.reader.floor).log()
        centre = levels.mean(0)
        self.reader.centre.copy_(centre)
        self.reader.spread.copy_((levels - centre).pow(2).mean().sqrt().clamp_min(1e-3))
        return self

    def _look(self, x: Tensor) -> None:
        super()._look(x)
        if not (x.min() >= 0 and torch.isfinite(x).all()):
            found, cure = "negative or non-finite numbers", "give |STFT|^2, `STFT.power(wave)`"
            raise InputError("s", found, "powers, at least 0", cure)


class LogPower(nn.Module):
    """Powers (..., D) to log powers, centred and scaled."""

    centre: Tensor
    spread: Tensor

    def __init__(self, data_dim: int, floor: float) -> None:
        super().__init__()
        self.floor = float(floor)
        self.register_buffer("centre", torch.zeros(data_dim))
        self.register_buffer("spread", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return the features."""
        return ((x + self.floor).log() - self.centre) / self.spread
