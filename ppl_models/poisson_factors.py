r"""Poisson factor analysis: counts whose expected values are sums of a few non-negative factors.

::

    theta_k ~ Gamma(shape_k, rate_k)                  K intensities a datum, k = 1, ..., K
    x_d     ~ Poisson(sum_k theta_k loadings_kd)      D counts

Each row of the loadings is non-negative and sums to one: it says how the counts of one factor fall
on the D dimensions, and theta_k is how many of them to expect. Documents are counts of words and
factors are topics; images are counts of photons and factors are light sources. Every factor adds,
none cancels another, so that factors are parts, where those of PCA are directions.

With the mean :math:`m_k = \mathrm{shape}_k / \mathrm{rate}_k` of an intensity,

.. math:: E[x] = \sum_k m_k \beta_k, \qquad
          \mathrm{Cov}[x] = \mathrm{diag}\, E[x] + \sum_k \frac{m_k^2}{\mathrm{shape}_k}
          \beta_k \beta_k^T :

counts are over-dispersed, their variance larger than a Poisson distribution's, and those that share
a factor are correlated. With one factor the posterior is Gamma(shape + sum_d x_d, rate + 1).

References
----------
Canny, "GaP: A Factor Model for Discrete Data", SIGIR 2004: this model.
Zhou, Hannah, Dunson and Carin, "Beta-Negative Binomial Process and Poisson Factor Analysis",
AISTATS 2012, arXiv:1112.3605.
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from pyro.poutine.util import is_validation_enabled
from torch import Tensor, nn

from ppl_models.errors import InputError
from ppl_models.inputs import check_count, count_rows


class PoissonFactors(nn.Module):
    """Counts x (N, D) as a sum of K non-negative factors.

    Sites: ``theta`` (K,) and ``x`` (D,), both in the plate ``data``. The order of the factors is
    arbitrary. Shape, mean and loadings are learned; `start_from` takes their scale from data.

    Parameters
    ----------
    data_dim : int
        D, counts a datum.
    latent_dim : int
        K, factors.

    Raises
    ------
    InputError
        A size below 1.
    """

    def __init__(self, data_dim: int = 64, latent_dim: int = 8) -> None:
        super().__init__()
        check_count("data_dim", data_dim)
        check_count("latent_dim", latent_dim)
        self.data_dim, self.latent_dim = data_dim, latent_dim
        self.logits = nn.Parameter(torch.randn(latent_dim, data_dim))
        self.log_shape = nn.Parameter(torch.zeros(latent_dim))
        # one count a dimension is expected, until data say otherwise
        self.log_mean = nn.Parameter(torch.full((latent_dim,), data_dim / latent_dim).log())

    def forward(self, x: Tensor | None = None, size: int = 1) -> Tensor:
        """Score counts ``x`` (N, D), whole numbers as floats; without them, simulate ``size`` data.

        Raises
        ------
        InputError
            ``x`` does not have the shape (N, data_dim), or is not of counts (looked at while Pyro's
            validation is on).
        """
        size = size if x is None else self.num_rows(x)
        with pyro.plate("data", size, dim=-1):
            theta = pyro.sample("theta", dist.Gamma(self.shape, self.rate).to_event(1))
            counts = dist.Poisson(theta @ self.loadings, validate_args=False)
            return pyro.sample("x", counts.to_event(1), obs=x)

    @property
    def loadings(self) -> Tensor:
        """The distribution of each factor's counts over the dimensions, (K, D); rows sum to one."""
        return self.logits.softmax(-1)

    @property
    def shape(self) -> Tensor:
        """Shapes of the intensities' Gamma distributions, (K,)."""
        return self.log_shape.exp()

    @property
    def rate(self) -> Tensor:
        """Rates of the intensities' Gamma distributions, (K,): shape over mean."""
        return (self.log_shape - self.log_mean).exp()

    def mean(self) -> Tensor:
        """Return the mean of x, (D,)."""
        return self.log_mean.exp() @ self.loadings

    def covariance(self) -> Tensor:
        """Return the covariance of x, (D, D)."""
        spread = (self.log_mean - 0.5 * self.log_shape).exp()[:, None] * self.loadings
        return self.mean().diag() + spread.mT @ spread

    @torch.no_grad()
    def start_from(self, x: Tensor) -> PoissonFactors:
        """Share the mean of counts ``x`` (N, D) equally among the factors; return the model.

        Loadings stay as random as they were, about the mean share of each dimension.

        Raises
        ------
        InputError
            ``x`` is not of counts (N, data_dim), or all of them are zero.
        """
        check_counts(x, self.data_dim)
        mean = x.mean(0)
        if not mean.any():
            raise InputError("x", "no count above zero", "some counts", "give data that have some")
        self.log_mean.fill_((mean.sum() / self.latent_dim).log())
        self.logits.add_((mean + 0.01 * mean.mean()).log())  # dimensions without counts stay finite
        return self

    def num_rows(self, x: Tensor | None) -> int:
        """Return N of counts ``x`` (N, D), which are looked at while Pyro's validation is on.

        Raises
        ------
        InputError
            ``x`` is not of counts (N, data_dim).
        """
        if x is not None and is_validation_enabled():
            check_counts(x, self.data_dim)
        return count_rows(x, self.data_dim)


def check_counts(x: Tensor, data_dim: int) -> None:
    """Check that x (N, data_dim) holds counts as floats.

    Raises
    ------
    InputError
        It has another shape or type, or numbers that are negative, broken or not finite.
    """
    count_rows(x, data_dim)
    if not x.is_floating_point():
        raise InputError("x", f"numbers of type {x.dtype}", "floats", "give x.float()")
    if not bool(((x >= 0) & (x == x.round()) & x.isfinite()).all()):
        found = f"numbers from {x.min():g} to {x.max():g}, not all of them counts"
        raise InputError("x", found, "whole numbers from 0", "give counts, not shares or logs")
