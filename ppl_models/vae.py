r"""The variational autoencoder: a network decodes each datum from a latent code.

::

    z ~ Normal(0, I), or another prior        the code: L latent numbers
    x ~ likelihood(decoder(z))                the datum: D numbers, bits, classes or levels

.. math:: p(x, z) = p(z) \, p(x \mid z)

Prior and likelihood are parts: `ppl_models.priors`, `ppl_models.likelihoods`.

References
----------
Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014, sections 2-3 and appendix C.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyro
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ppl_models.errors import InputError
from ppl_models.inputs import check_widths, count_rows
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
    hidden_dims : sequence of int
        Widths of the decoder's hidden layers, from the code to the datum.
    likelihood : "gaussian", "bernoulli" or Likelihood
        The distribution of x given its code (`ppl_models.likelihoods`). Bits are floats, 0 or 1.
    scale : float, optional
        Standard deviation of ``"gaussian"``, in the units of x. By default one number is learned;
        it shrinks towards its floor, 0.001, where the decoder can copy the data exactly.
    decoder : nn.Module, optional
        Any network (..., L) -> (..., likelihood.raw_dim), which is D for the two named ones, in
        place of the one made from ``hidden_dims``.
    prior : nn.Module, optional
        p(z), from `ppl_models.priors`; Normal(0, I) by default.

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
        hidden_dims: Sequence[int] = (128,),
        likelihood: str | Likelihood = "gaussian",
        scale: float | None = None,
        decoder: nn.Module | None = None,
        prior: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.data_dim, self.latent_dim = data_dim, latent_dim
        self.hidden_dims = check_widths(hidden_dims)
        self.likelihood = named(likelihood, data_dim, scale)
        self.decoder = decoder or MLP(latent_dim, *self.hidden_dims, self.likelihood.raw_dim)
        self.prior = prior or StandardPrior(latent_dim)
        if self.prior.latent_dim != latent_dim:
            found, cure = (
                f"latent_dim {self.prior.latent_dim}",
                "build all parts for one latent_dim",
            )
            raise InputError("prior", found, f"latent_dim {latent_dim}, as the model's", cure)

    def forward(self, x: Tensor | None = None, size: int = 1) -> Tensor:
        """Score data ``x`` (N, D); without data, simulate ``size`` of them.

        Raises
        ------
        InputError
            ``x`` does not have the shape (N, data_dim), or cannot be data of the likelihood
            (checked while Pyro's validation is on).
        """
        size = size if x is None else self._count(x)
        with pyro.plate("data", size, dim=-1):
            z = self.prior()
            return pyro.sample("x", self.observation(z), obs=x)

    def observation(self, z: Tensor) -> TorchDistribution:
        """Return p(x | z), of batch shape (...,) and event shape (D,), for codes z (..., L)."""
        distribution: TorchDistribution = self.likelihood(self.decoder(z))
        return distribution

    def _count(self, x: Tensor) -> int:
        """Return N for data (N, D) in the support of the likelihood."""
        size = count_rows(x, self.data_dim)
        self.likelihood.check(x)
        return size
