r"""Audiograms as blends of archetypes, whose exact posterior is known: the oracle of acquisition.

::

    w ~ Dirichlet(1, ..., 1)             how much of each archetype: K weights that sum to 1
    x ~ Normal(w A, scale^2 I)           the measurements: D numbers, in the hull of A but for noise

The weights lie in a simplex, so the posterior is not Gaussian: how sure it is depends on the values
that were measured, not only on which. A library of draws from the prior, weighted by how well each
explains what was measured, is the posterior, as exactly as the library is large:

.. math:: p(w \mid x_O) \propto \mathrm{Dirichlet}(w; 1) \prod_{d \in O} N(x_d; (w A)_d,
          \mathrm{scale}^2)

References
----------
Høegh, "On Learning Useful Variational Autoencoder Representations", DTU 2022, appendix A.
Cutler and Breiman, "Archetypal Analysis", Technometrics 36, 1994.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppl_models.data import audiograms
from ppl_models.errors import InputError
from ppl_models.inputs import check_count, check_positive, count_rows
from ppl_models.ppca import zero_missing

LIBRARY = 2**14
"""Draws of a library, unless others are asked for."""


class ArchetypePosterior(NamedTuple):
    """The posterior of N data by S weighted draws, in double precision."""

    w: Tensor
    """Draws from the prior (S, K), the same for all data."""
    weights: Tensor
    """How much each counts (S, N); they sum to 1 over S."""
    log_evidence: Tensor
    """log p(x_O) (N,) in nats, estimated by the same draws."""

    @property
    def effective_size(self) -> Tensor:
        """Draws that would be as good if all counted the same (N,): 1 / sum of squared weights."""
        return 1 / self.weights.square().sum(0)


class ArchetypalAudiogram(nn.Module):
    r"""Blends of archetypes, plus noise; its posterior by weighted draws.

    Sites: ``w`` (K,) and ``x`` (D,), both in the plate ``data``.

    Parameters
    ----------
    archetypes : Tensor, optional
        A (K, D), in the units of the data; by default those of
        ``ppl_models.data.audiograms(seed=0)``: 14 thresholds and the age.
    scale : float
        Standard deviation of the noise, in the units of the data.
    learn : bool
        Whether training moves the archetypes (archetypal analysis by likelihood), or the guide
        alone.

    Raises
    ------
    InputError
        Archetypes that are no finite matrix of at least two rows, or a scale that is not positive.
    """

    def __init__(
        self, archetypes: Tensor | None = None, *, scale: float = 5.0, learn: bool = False
    ) -> None:
        super().__init__()
        archetypes = audiograms(1).archetypes if archetypes is None else archetypes
        shape = tuple(getattr(archetypes, "shape", ()))
        if len(shape) != 2 or shape[0] < 2 or not archetypes.isfinite().all():
            found = f"shape {shape}" if len(shape) != 2 or shape[0] < 2 else "NaN or infinite ones"
            cure = "ppl_models.data.audiograms(4096).archetypes"
            raise InputError("archetypes", found, "finite numbers (K, D), K at least 2", cure)
        self.scale = check_positive("scale", scale)
        self.num_archetypes, self.data_dim = shape
        self.archetypes = nn.Parameter(archetypes.detach().clone(), requires_grad=learn)

    def forward(self, x: Tensor | None = None, mask: Tensor | None = None, size: int = 1) -> Tensor:
        """Score data ``x`` (N, D); without data, simulate ``size`` of them.

        ``mask`` (N, D) is True for the numbers that were observed; the others may be NaN.

        Raises
        ------
        InputError
            ``x`` or ``mask`` does not have the shape (N, data_dim).
        """
        size = size if x is None else count_rows(x, self.data_dim)
        with pyro.plate("data", size, dim=-1):
            w = pyro.sample("w", self.prior())
            noise = dist.Normal(self.blend(w), self.scale, validate_args=False)
            if mask is not None and x is not None:
                x, noise = zero_missing(x, mask), noise.mask(mask)
            return pyro.sample("x", noise.to_event(1), obs=x)

    def prior(self) -> dist.Dirichlet:
        """Return p(w): uniform over the simplex, event shape (K,)."""
        return dist.Dirichlet(torch.ones_like(self.archetypes[:, 0]))

    def blend(self, w: Tensor) -> Tensor:
        """Return the mean (..., D) of x for weights w (..., K)."""
        return w @ self.archetypes

    def prior_moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of each number of x, noise included, (D,) each."""
        mean = self.archetypes.mean(0)
        spread = (self.archetypes - mean).square().mean(0) / (self.num_archetypes + 1)
        return mean, (spread + self.scale**2).sqrt()

    @torch.no_grad()
    def ideal(
        self, x: Tensor, mask: Tensor | None = None, *, num_samples: int = LIBRARY, seed: int = 0
    ) -> ArchetypePosterior:
        """Return the posterior of ``x`` (N, D), of which those in ``mask`` were observed.

        Self-normalised importance sampling from the prior, whose draws are spread evenly, in double
        precision and logarithms. Look at `ArchetypePosterior.effective_size` for how exact it is;
        for the 15 columns of an audiogram, all observed, the default puts the mean of a threshold
        0.1 to 0.2 dB off. With nothing observed all draws count the same.

        Parameters
        ----------
        x, mask
        num_samples
            S; powers of two are spread the most evenly. Memory is some 40 S N bytes.
        seed
            Of the library.

        Raises
        ------
        InputError
            ``x`` or ``mask`` does not have the shape (N, data_dim); or numbers that were observed
            are NaN or infinite.
        """
        count_rows(x, self.data_dim)
        check_count("num_samples", num_samples)
        seen = zero_missing(x, mask).double()
        if not seen.isfinite().all():
            cure = "mask = x.isfinite()"
            raise InputError("x", "NaN or infinite numbers", "finite numbers where mask", cure)
        observed = torch.ones_like(seen) if mask is None else mask.double()
        w = uniform_simplex(num_samples, self.num_archetypes, seed).to(x.device)
        log_weights = self._log_likelihood(w, seen, observed)
        total = log_weights.logsumexp(0)
        return ArchetypePosterior(w, (log_weights - total).exp(), total - math.log(num_samples))

    def predict(self, posterior: ArchetypePosterior) -> tuple[Tensor, Tensor]:
        """Return mean and variance (N, D) of what a further measurement would show.

        Without its noise, of variance ``scale ** 2``, the mean is the best guess of the truth.
        """
        blends = posterior.w @ self.archetypes.double()
        centre = blends.mean(0)  # so that the variance is no difference of large numbers
        mean, square = (posterior.weights.T @ (blends - centre) ** power for power in (1, 2))
        return centre + mean, (square - mean.square()).clamp(min=0) + self.scale**2

    def _log_likelihood(self, w: Tensor, x: Tensor, observed: Tensor) -> Tensor:
        """Return log p(x_O | w) (S, N): squares multiplied out, from the centre of the hull."""
        centre = self.archetypes.double().mean(0)
        blends = (w @ (self.archetypes.double() - centre)) / self.scale
        residual = observed * (x - centre) / self.scale
        squares = residual.square().sum(-1) - 2 * blends @ residual.T
        squares = squares + blends.square() @ observed.T
        constant = math.log(self.scale) + 0.5 * math.log(2 * math.pi)
        return -0.5 * squares - constant * observed.sum(-1)


def uniform_simplex(size: int, num_weights: int, seed: int) -> Tensor:
    """Return ``size`` draws from Dirichlet(1, ..., 1), (S, K), in double precision.

    Scrambled Sobol points, of which sticks are broken: each is uniform, and together they are more
    even than independent ones, which is worth some four times as many of these.
    """
    engine = torch.quasirandom.SobolEngine(num_weights - 1, scramble=True, seed=seed)
    uniform = engine.draw(size, dtype=torch.float64)
    sticks = torch.arange(num_weights - 1, 0, -1, dtype=torch.float64)
    kept = (1 - uniform) ** (1 / sticks)  # of what is left, after the part that is broken off
    left = torch.cat([torch.ones_like(kept[:, :1]), kept.cumprod(-1)], -1)
    return torch.cat([left[:, :-1] * (1 - kept), left[:, -1:]], -1)
