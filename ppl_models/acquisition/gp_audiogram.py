r"""The audiogram of one ear as a Gaussian process: what one knows without other people's data.

Thresholds are a smooth function of the frequency, in octaves o = log2(frequency / 1 kHz)::

    f ~ GP(offset + slope o, k)          thresholds in dB HL, at D frequencies and between them
    x ~ Normal(f, noise)                 as measured

.. math:: k(o, o') = \mathrm{amplitude}^2 \, \kappa(|o - o'| / \mathrm{lengthscale})
          + \mathrm{level}^2

kappa is an RBF or Matern kernel; the constant lets a whole ear be better or worse. Everything
of it is known in closed form: the evidence, the posterior, thresholds at tones that were not
measured, and how much a measurement would tell. A posterior variance depends on which tones were
measured alone, not on the answers; so the order of the best tones is the same for everybody.

References
----------
Rasmussen and Williams, "Gaussian Processes for Machine Learning", MIT Press 2006, chapters 2, 5.
Gardner et al., "Psychophysical Detection Testing with Bayesian Active Learning", UAI 2015.
Schlittenlacher, Turner and Moore, "Audiogram estimation using Bayesian active learning", JASA 144,
2018.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppl_models.data.hearing import FREQUENCIES
from ppl_models.errors import InputError
from ppl_models.inputs import count_rows
from ppl_models.ppca import combine_evidence, zero_missing

KERNELS = ("rbf", "matern32", "matern52")
JITTER = 1e-6
"""Of the prior variance, added to the covariance of f, which is almost singular without it."""


class Thresholds(NamedTuple):
    """What is expected at F frequencies, for each of N ears."""

    mean: Tensor
    """In dB HL (N, F)."""
    variance: Tensor
    """Of the threshold itself, without a measurement's noise, in dB^2 (N, F)."""


class GPAudiogram(nn.Module):
    """Gaussian process of one ear's thresholds, with evidence and posterior in closed form.

    Sites: ``f`` (D,) and ``x`` (D,), both in the plate ``data``: an ear a datum.

    Parameters
    ----------
    frequencies : sequence of numbers
        Of the D columns, in Hz, all different.
    kernel : "rbf", "matern32" or "matern52"
        How smooth f is: infinitely, once or twice differentiable.

    Raises
    ------
    InputError
        Frequencies that are not positive or not all different, or an unknown kernel.
    """

    octaves: Tensor

    def __init__(self, frequencies: Sequence[float] = FREQUENCIES, *, kernel: str = "rbf") -> None:
        super().__init__()
        if kernel not in KERNELS:
            cure = '"rbf" is the smoothest'
            raise InputError("kernel", repr(kernel), "one of " + ", ".join(KERNELS), cure)
        if not frequencies or len(set(frequencies)) < len(frequencies):
            cure = "(500, 1000, 2000, 3000, 4000, 6000, 8000)"
            found = str(tuple(frequencies))
            raise InputError("frequencies", found, "different numbers, in Hz", cure)
        self.kernel, self.data_dim = kernel, len(frequencies)
        self.register_buffer("octaves", _octaves(frequencies))
        self.offset = nn.Parameter(torch.tensor(20.0))  # dB HL at 1 kHz
        self.slope = nn.Parameter(torch.tensor(8.0))  # dB an octave
        self.log_amplitude = nn.Parameter(torch.tensor(math.log(12.0)))
        self.log_lengthscale = nn.Parameter(torch.tensor(0.0))  # an octave
        self.log_level = nn.Parameter(torch.tensor(math.log(12.0)))
        self.log_noise = nn.Parameter(torch.tensor(math.log(5.0)))

    def forward(self, x: Tensor | None = None, mask: Tensor | None = None, size: int = 1) -> Tensor:
        """Score ears ``x`` (N, D); without data, simulate ``size`` of them.

        ``mask`` (N, D) is True for the thresholds that were measured; the others may be NaN.

        Raises
        ------
        InputError
            ``x`` or ``mask`` does not have the shape (N, data_dim).
        """
        size = size if x is None else count_rows(x, self.data_dim)
        with pyro.plate("data", size, dim=-1):
            f = pyro.sample("f", self.prior())
            noise = dist.Normal(f, self.log_noise.exp(), validate_args=False)
            if mask is not None and x is not None:
                x, noise = zero_missing(x, mask), noise.mask(mask)
            return pyro.sample("x", noise.to_event(1), obs=x)

    def prior(self) -> dist.MultivariateNormal:
        """Return p(f), event shape (D,)."""
        return _normal(self.mean(self.octaves), self._root().to(self.octaves.dtype))

    def mean(self, octaves: Tensor) -> Tensor:
        """Return the mean of f at octaves (...) above 1 kHz."""
        return self.offset + self.slope * octaves

    def covariance(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the covariance (F, G) of f between octaves (F,) and (G,), in double precision."""
        apart = (first.double()[:, None] - second.double()).abs()
        apart = apart * (-self.log_lengthscale.double()).exp()
        if self.kernel == "rbf":
            shape = (-0.5 * apart.square()).exp()
        elif self.kernel == "matern32":
            shape = (1 + 3**0.5 * apart) * (-(3**0.5) * apart).exp()
        else:
            near = 5**0.5 * apart
            shape = (1 + near + near.square() / 3) * (-near).exp()
        return (2 * self.log_amplitude.double()).exp() * shape + (2 * self.log_level.double()).exp()

    def evidence(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        r"""Return the exact :math:`\log p(x)` (N,) in nats, of the thresholds measured.

        With f = mean + R e and e ~ Normal(0, I), this is the evidence of PPCA
        (`ppl_models.ppca.PPCA.evidence`): a sum of squares, and the determinant of a D x D matrix.
        """
        whitened, residual = self._whitened(x, mask)
        scale = self.log_noise.double().exp()
        misfit = zero_missing(residual - whitened.mean @ self._root().T, mask) / scale
        count = torch.full_like(misfit[:, 0], self.data_dim) if mask is None else mask.sum(-1)
        squares = misfit.square().sum(-1) + whitened.mean.square().sum(-1)
        spread = whitened.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        constant = 0.5 * math.log(2 * math.pi) + self.log_noise.double()
        return (spread - count * constant - 0.5 * squares).to(x.dtype)

    def posterior(self, x: Tensor, mask: Tensor | None = None) -> dist.MultivariateNormal:
        """Return the exact p(f | x), batch shape (N,), event shape (D,)."""
        whitened, _ = self._whitened(x, mask)
        root = self._root()
        mean = self.mean(self.octaves).double() + whitened.mean @ root.T
        # a factor of the covariance, made triangular: its square would lose half of the digits
        factor = root @ whitened.scale_tril
        upper = torch.linalg.qr(factor.mT).R
        signs = torch.where(upper.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0)
        return _normal(mean.to(x.dtype), (upper.mT * signs[..., None, :]).to(x.dtype))

    def predict(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        *,
        frequencies: Sequence[float] | None = None,
    ) -> Thresholds:
        """Return what is expected of the thresholds at F frequencies, given the measured ones.

        Parameters
        ----------
        x, mask
        frequencies
            In Hz, measured or not, between them or beyond; by default the model's own.

        Raises
        ------
        InputError
            Frequencies that are not positive; ``x`` or ``mask`` of another shape.
        """
        whitened, _ = self._whitened(x, mask)
        octaves, weights, rest = self._weights(frequencies)
        mean = self.mean(octaves).double() + whitened.mean @ weights.T
        spread = (weights @ whitened.scale_tril).square().sum(-1) + rest
        return Thresholds(mean.to(x.dtype), spread.to(x.dtype))

    def information_gain(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        *,
        frequencies: Sequence[float] | None = None,
    ) -> Tensor:
        """Return how much measuring each frequency (once more) would tell of f: nats (N, F).

        The mutual information of the answer and f, 0.5 log(1 + variance / noise^2): it is largest
        where the variance is.
        """
        variance = self.predict(x, mask, frequencies=frequencies).variance
        return 0.5 * (variance * (-2 * self.log_noise).exp()).log1p()

    def fit_evidence(
        self, x: Tensor, mask: Tensor | None = None, *, max_steps: int = 200
    ) -> GPAudiogram:
        """Take parameters of maximum evidence for ears ``x`` (N, D), and return the model.

        By L-BFGS, from the data's own level, slope and spread. The maximum that it finds is a
        local one, as of any such fit.

        Parameters
        ----------
        x, mask
        max_steps
            At which it stops in any case.

        Raises
        ------
        InputError
            Fewer than two thresholds were measured, or all are the same, or one is not finite.
        """
        count_rows(x, self.data_dim)
        self.start_from(x, mask)
        parameters = [p for p in self.parameters() if p.requires_grad]
        optimizer = torch.optim.LBFGS(
            parameters,
            max_iter=max_steps,
            max_eval=2 * max_steps,
            tolerance_grad=1e-6,
            line_search_fn="strong_wolfe",
        )

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = -self.evidence(x.double(), mask).mean()
            value.backward()
            return value

        optimizer.step(loss)
        optimizer.zero_grad()
        return self

    @torch.no_grad()
    def start_from(self, x: Tensor, mask: Tensor | None = None) -> None:
        """Take offset, slope and spread from ears ``x`` (N, D): a line through all, and the rest.

        Raises
        ------
        InputError
            Fewer than two thresholds were measured, or all are the same, or one is not finite.
        """
        seen = zero_missing(x, mask).double()
        mask = torch.ones_like(seen, dtype=torch.bool) if mask is None else mask
        values, octaves = seen[mask], self.octaves.double().expand_as(seen)[mask]
        if not values.isfinite().all() or len(values) < 2 or values.std() == 0:
            found = f"{len(values)} thresholds" + ", all the same or not all finite" * bool(
                len(values)
            )
            cure = "give what was measured, and mask = x.isfinite()"
            raise InputError("x", found, "at least two, finite and different", cure)
        design = torch.stack([torch.ones_like(octaves), octaves], -1)
        line = torch.linalg.lstsq(design, values[:, None], driver="gelsd").solution.squeeze(-1)
        spread = (values - design @ line).std().clamp(min=1e-3 * float(values.std()))
        self.offset.copy_(line[0])
        self.slope.copy_(line[1])
        self.log_lengthscale.zero_()
        for logarithm in (self.log_amplitude, self.log_level):
            logarithm.copy_((0.6 * spread).log())
        self.log_noise.copy_((0.4 * spread).log())

    def _root(self) -> Tensor:
        """Return the lower triangular R (D, D) with covariance R R^T, in double precision."""
        covariance = self.covariance(self.octaves, self.octaves)
        return torch.linalg.cholesky(covariance + JITTER * covariance.diagonal().diag())

    def _weights(self, frequencies: Sequence[float] | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return F octaves, W (F, D) with f = mean + W e + the rest, and the rest's variance."""
        root = self._root()
        if frequencies is None:
            return self.octaves, root, torch.zeros_like(root[0])
        new = _octaves(frequencies).to(self.octaves)
        crossed = self.covariance(self.octaves, new)
        weights = torch.linalg.solve_triangular(root, crossed, upper=False).mT
        prior = self.covariance(new, new).diagonal() * (1 + JITTER)
        return new, weights, (prior - weights.square().sum(-1)).clamp(min=0)

    def _whitened(self, x: Tensor, mask: Tensor | None) -> tuple[dist.MultivariateNormal, Tensor]:
        """Return p(e | x) where f = mean + R e, and x less its mean, in double precision."""
        count_rows(x, self.data_dim)
        residual = zero_missing((x - self.mean(self.octaves)).double(), mask)
        precision = (-self.log_noise.double()).exp()
        directions = self._root() * precision
        return combine_evidence(directions, residual * precision @ directions, mask), residual


def _octaves(frequencies: Sequence[float]) -> Tensor:
    """Return frequencies in Hz as octaves above 1 kHz."""
    if not all(0 < frequency < math.inf for frequency in frequencies):
        cure = "give them in Hz: 500, 1000, ..."
        raise InputError("frequencies", str(tuple(frequencies)), "positive numbers", cure)
    return torch.tensor([math.log2(frequency / 1000) for frequency in frequencies])


def _normal(mean: Tensor, root: Tensor) -> dist.MultivariateNormal:
    return dist.MultivariateNormal(mean, scale_tril=root, validate_args=False)
