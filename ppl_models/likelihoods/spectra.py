r"""The likelihood of sound: complex Gaussian bins of a short-time Fourier transform.

.. math:: x_f \sim N_c(0, v_f), \qquad p(|x_f|^2) = \mathrm{Exponential}(1 / v_f), \qquad
    \log p(|x|^2) = -\log v - |x|^2 / v.

The phase is uniform whatever v, so a model of powers |x|^2 is the model of the complex
bins: their log density is lower by log(pi) a bin. Up to a term without v, minus the log density is
the Itakura-Saito divergence |x|^2 / v - log(|x|^2 / v) - 1.

Complex bins are stored as real numbers (..., 2 F): F real parts, then F imaginary parts (`to_bins`,
`to_complex`). `ComplexBins` is the likelihood of them, `ComplexGaussian` that of their powers.

Reference: C. Fevotte, N. Bertin, J.-L. Durrieu, "Nonnegative matrix factorization with the
Itakura-Saito divergence", Neural Computation 2009, section 3.
"""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from ppl_models.errors import InputError
from ppl_models.inputs import check_count, check_positive
from ppl_models.likelihoods.basic import Likelihood

QUIET = 1e-6
"""Power below which differences do not count, where a sound's largest sample is 1: some 90 dB below
the power of a soft voice, and above the rounding of 16 bits."""


def to_bins(x: Tensor) -> Tensor:
    """Return complex numbers (..., F) as real ones (..., 2 F): real parts, then imaginary parts."""
    return torch.cat([x.real, x.imag], -1)


def to_complex(bins: Tensor) -> Tensor:
    """Return real numbers (..., 2 F), real parts first, as complex ones (..., F)."""
    return torch.complex(*bins.chunk(2, -1))


def bin_power(bins: Tensor) -> Tensor:
    """Return |x|^2 (..., F) of complex bins stored as (..., 2 F)."""
    real, imaginary = bins.chunk(2, -1)
    return real.square() + imaginary.square()


def bin_normal(variance: Tensor, mean: Tensor | float = 0.0) -> TorchDistribution:
    """Return N_c(mean, variance) of bins: independent Normals of variance v / 2, (..., 2 F).

    Shapes: variance (..., F), positive; mean (..., 2 F).
    """
    scale = (0.5 * variance).sqrt()
    scale = torch.cat([scale, scale], -1)
    return dist.Normal(mean + torch.zeros_like(scale), scale, validate_args=False)


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
        return Power(self.variance(raw))

    def variance(self, raw: Tensor) -> Tensor:
        """Return v (..., D) for outputs of a decoder (..., D)."""
        return self.reader.variance(raw)

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
        self._check_support(frames)
        levels = (frames + self.reader.floor).log()
        centre = levels.mean(0)
        self.reader.centre.copy_(centre)
        self.reader.spread.copy_((levels - centre).pow(2).mean().sqrt().clamp_min(1e-3))
        return self

    def _check_support(self, x: Tensor) -> None:
        super()._check_support(x)
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

    def variance(self, raw: Tensor) -> Tensor:
        """Return the variances exp(centre + spread raw) + floor (..., D) of outputs (..., D)."""
        return torch.addcmul(self.centre, raw, self.spread).exp() + self.floor


class ComplexBins(Likelihood):
    """x_f ~ N_c(0, v_f) itself, stored as reals (..., 2 F): `ComplexGaussian` before powers.

    The reader is that of powers, so that networks which read and write powers read and write
    these. The log density is lower than that of the powers by F log(pi).

    Parameters
    ----------
    bins : int
        F, frequencies: ``data_dim`` is 2 F, ``raw_dim`` and ``feature_dim`` are F.
    floor : float
        As in `ComplexGaussian`.
    """

    reader: LogPower

    def __init__(self, bins: int, floor: float = QUIET) -> None:
        check_count("bins", bins, 1)
        super().__init__(2 * bins, bins, LogPower(bins, check_positive("floor", floor)))
        self.feature_dim = bins

    @classmethod
    def of(cls, power: ComplexGaussian) -> ComplexBins:
        """Return the likelihood of bins whose powers have that likelihood; they share a reader."""
        bins = cls(power.data_dim, power.reader.floor)
        bins.reader = power.reader
        return bins

    def distribution(self, raw: Tensor) -> TorchDistribution:
        """Return the distribution of 2 F numbers."""
        return bin_normal(self.variance(raw))

    def variance(self, raw: Tensor) -> Tensor:
        """Return v (..., F) for outputs of a decoder (..., F)."""
        return self.reader.variance(raw)

    def features(self, x: Tensor, before: Tensor | None = None) -> Tensor:
        """Return an encoder's input, log powers (..., F), for bins x (..., 2 F)."""
        features: Tensor = self.reader(bin_power(x))
        return features

    def start_from(self, s: Tensor, mask: Tensor | None = None) -> ComplexBins:
        """Take centre and spread from frames (..., 2 F) of bins; return self.

        Raises
        ------
        InputError
            They are of other frequencies, or not finite.
        """
        if s.shape[-1] != self.data_dim:
            found, cure = f"shape {tuple(s.shape)}", "give to_bins(STFT), real parts first"
            raise InputError("s", found, f"frames of bins (..., {self.data_dim})", cure)
        power = ComplexGaussian(self.raw_dim, self.reader.floor)
        power.reader = self.reader
        power.start_from(bin_power(s), mask)
        return self
