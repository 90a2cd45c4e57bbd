"""The variational autoencoder: a datum is what a network makes of a few numbers.

::

    z ~ Normal(0, I), or another prior        L numbers nobody observes
    x ~ likelihood(decoder(z))                D numbers, bits, classes or levels

Both are parts: `ppl_models.priors`, `ppl_models.likelihoods`.

References
----------
Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014, sections 2-3 and appendix C.
"""

from __future__ import annotations

import pyro
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ppl_models.errors import InputError
from ppl_models.inputs import count_rows
from ppl_models.likelihoods import Likelihood, named
from ppl_models.networks import MLP
from ppl_models.priors import StandardPrior


class VAE(nn.Module):
    """A deep latent-variable model of vectors.

    Sites: ``z`` (L,) and ``x`` (D,), both in the plate ``data``; a prior may add sites of its own.

    Parameters
    ----------
    data_dim : int
        D, numbers a datum.
    latent_dim : int
        L, numbers of its code.
    hidden_dim : int
        Width of the decoder's one hidden layer.
    likelihood : "gaussian", "bernoulli" or Likelihood
        What x is given its code (`ppl_models.likelihoods`). Bits are floats, 0 or 1.
    scale : float, optional
        Standard deviation of ``"gaussian"``, in the units of x. By default one number is learned;
        it shrinks towards its floor, 0.001, where the decoder can copy the data exactly.
    decoder : nn.Module, optional
        Any network (..., L) -> (..., likelihood.raw_dim), which is D for the two named ones, in
        place of the one made from ``hidden_dim``.
    prior : nn.Module, optional
        What codes are before a datum is seen (`ppl_models.priors`); Normal(0, I) by default.

    Raises
    ------
    InputError
        An unknown likelihood, a scale that is not a positive number, or parts of other sizes.
    """

    def __init__(
        self,
        data_dim: int = 64,
        latent_dim: int = 8,
        *,
        hidden_dim: int = 128,
        likelihood: str | Likelihood = "gaussian",
        scale: float | None = None,
        decoder: nn.Module | None = None,
        prior: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.data_dim, self.latent_dim = data_dim, latent_dim
        self.likelihood = named(likelihood, data_dim, scale)
        self.decoder = decoder or MLP(latent_dim, hidden_dim, self.likelihood.raw_dim)
        self.prior = prior or StandardPrior(latent_dim)
        if self.prior.latent_dim != latent_dim:
            seen, cure = f"latent_dim {self.prior.latent_dim}", "build all parts for one latent_dim"
            raise InputError("prior", seen, f"latent_dim {latent_dim}, as the model's", cure)

    def forward(self, x: Tensor | None = None, num_data: int = 1) -> Tensor:
        """Tell how ``x`` (N, D) came to be; without it, simulate ``num_data`` data.

        Raises
        ------
        InputError
            ``x`` does not have the shape (N, data_dim), or cannot be data of the likelihood
            (looked at while Pyro's validation is on).
        """
        num_data = num_data if x is None else self._count(x)
        with pyro.plate("data", num_data, dim=-1):
            z = self.prior()
            return pyro.sample("x", self.observation(z), obs=x)

    def observation(self, z: Tensor) -> TorchDistribution:
        """Return p(x | z), of batch shape (...,) and event shape (D,), for codes z (..., L)."""
        distribution: TorchDistribution = self.likelihood(self.decoder(z))
        return distribution

    def _count(self, x: Tensor) -> int:
        """Return N for data (N, D) that the likelihood can have told."""
        num_data = count_rows(x, self.data_dim)
        self.likelihood.check(x)
        return num_data
