r"""The guide of Poisson factor analysis: every count is shared out among the factors.

.. math:: q(\theta_k \mid x) = \mathrm{Gamma}\Big(\mathrm{shape}_k + \sum_d x_d \varphi_{kd}(x), \;
          \mathrm{rate}_k + 1\Big), \qquad
          \varphi_{kd}(x) = \frac{\beta_{kd} e^{u_k(x)}}{\sum_j \beta_{jd} e^{u_j(x)}}

If it were known which factor each single count came from, this would be the posterior. It is not,
and a network gives u(x), the logarithm of how intense each factor is, from which the shares follow.
The best independent posterior has this form, with u_k the mean of log theta_k under it, which
coordinate ascent finds by iteration for each datum.

References
----------
Canny, "GaP: A Factor Model for Discrete Data", SIGIR 2004.
Gopalan, Hofman and Blei, "Scalable Recommendation with Hierarchical Poisson Factorization", UAI
2015: the shares and the independent posterior.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pyro
import pyro.distributions as dist
from torch import Tensor

from guides.base import ReadingGuide
from ppl_models.networks import MLP
from ppl_models.poisson_factors import PoissonFactors


class PoissonFactorsGuide(ReadingGuide[PoissonFactors]):
    """Amortized Gamma posterior q(theta | x) of :class:`ppl_models.poisson_factors.PoissonFactors`.

    The factors are independent given x. With one factor it is the posterior, untrained.

    Parameters
    ----------
    model : PoissonFactors
        Read by reference.
    hidden_dims : sequence of int
        Widths of the network's hidden layers.
    """

    def __init__(self, model: PoissonFactors, *, hidden_dims: Sequence[int] = (64,)) -> None:
        super().__init__(model)
        self.network = MLP(model.data_dim, *hidden_dims, model.latent_dim)

    def forward(self, x: Tensor | None = None) -> Tensor:
        """Sample ``theta`` (N, K) for counts ``x`` (N, D).

        Raises
        ------
        InputError
            ``x`` is not of counts (N, data_dim).
        """
        with pyro.plate("data", self.model.num_rows(x), dim=-1):
            return pyro.sample("theta", self.posterior(cast(Tensor, x)).to_event(1))

    def posterior(self, x: Tensor) -> dist.Gamma:
        """Return q(theta | x), batch shape (N, K)."""
        model = self.model
        intensity = self.network(x.log1p())[..., None]
        shares = (intensity + model.logits.log_softmax(-1)).softmax(-2)  # (N, K, D)
        counts = (shares * x[..., None, :]).sum(-1)
        return dist.Gamma(model.shape + counts, model.rate + 1)
