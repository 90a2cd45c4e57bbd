"""The conditional variational autoencoder: what a network makes of a few numbers and a condition.

::

    c                                          C numbers, given and never scored
    c -> z ~ Normal(0, I), or p(z | c)         L numbers nobody observes
    c, z -> x ~ likelihood(decoder(z, c))      D numbers, bits, classes or levels

    p(x, z | c) = p(z | c) p(x | z, c)

With the fixed prior p(z | c) = p(z), z is to be independent of c. Where c says much of x, as an
image does, the guide makes z depend on it all the same, and a code drawn from the prior decodes
badly. The learned prior has no such trouble, and a code that is less easily read.

References
----------
Sohn, Lee and Yan, "Learning Structured Output Representation using Deep Conditional Generative
Models", NeurIPS 2015, section 4.1.
M. Chen, "Learning with weak supervision using deep generative networks", PhD thesis, Sorbonne
Université 2020, equation 2.4.
"""

from __future__ import annotations

from typing import Literal, get_args

import pyro
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ppl_models.errors import InputError
from ppl_models.inputs import count_rows
from ppl_models.likelihoods import Likelihood, named
from ppl_models.networks import MLP
from ppl_models.priors import ConditionalPrior, StandardPrior

Kind = Literal["standard", "learned"]


class CVAE(nn.Module):
    """A deep latent-variable model of vectors, given others.

    Sites: ``z`` (L,) and ``x`` (D,), both in the plate ``data``.

    Parameters
    ----------
    data_dim : int
        D, numbers a datum.
    condition_dim : int
        C, numbers of its condition. A class is a one-hot condition.
    latent_dim : int
        L, numbers of its code.
    hidden_dim : int
        Width of the one hidden layer of decoder and prior.
    prior : "standard" or "learned"
        Normal(0, I) whatever c, or a Gaussian that a network reads off c
        (`ppl_models.priors.ConditionalPrior`).
    likelihood : "gaussian", "bernoulli" or Likelihood
        What x is given code and condition (`ppl_models.likelihoods`).
    scale : float, optional
        Standard deviation of ``"gaussian"``, as for `VAE`.
    decoder : nn.Module, optional
        Any network (..., L + C) -> (..., likelihood.raw_dim), code first, in place of the one made
        from ``hidden_dim``.

    Raises
    ------
    InputError
        An unknown prior or likelihood, or a scale that is not a positive number.
    """

    def __init__(
        self,
        data_dim: int = 32,
        condition_dim: int = 32,
        latent_dim: int = 8,
        *,
        hidden_dim: int = 128,
        prior: Kind = "standard",
        likelihood: str | Likelihood = "gaussian",
        scale: float | None = None,
        decoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.data_dim, self.condition_dim, self.latent_dim = data_dim, condition_dim, latent_dim
        self.likelihood = named(likelihood, data_dim, scale)
        inputs = latent_dim + condition_dim
        self.decoder = decoder or MLP(inputs, hidden_dim, self.likelihood.raw_dim)
        if prior not in get_args(Kind):
            cure = '"learned" where conditions say much of the data, else "standard"'
            raise InputError("prior", repr(prior), '"standard" or "learned"', cure)
        self.learned = prior == "learned"
        self.prior = (
            ConditionalPrior(condition_dim, latent_dim, hidden_dim)
            if self.learned
            else StandardPrior(latent_dim)
        )

    def forward(self, x: Tensor | None, c: Tensor) -> Tensor:
        """Tell how ``x`` (N, D) came to be, given ``c`` (N, C); without x, simulate it.

        Raises
        ------
        InputError
            ``c`` or ``x`` does not have these shapes, or x cannot be data of the likelihood.
        """
        num_data = count_rows(c, self.condition_dim, "c")
        if x is not None:
            check_pairs(x, c, self.data_dim)
            self.likelihood.check(x)
        with pyro.plate("data", num_data, dim=-1):
            z = self.prior(condition=c) if self.learned else self.prior()
            return pyro.sample("x", self.observation(z, c), obs=x)

    def observation(self, z: Tensor, c: Tensor) -> TorchDistribution:
        """Return p(x | z, c), event shape (D,), for codes (..., L) and conditions (..., C)."""
        distribution: TorchDistribution = self.likelihood(self.decoder(beside(z, c)))
        return distribution


def beside(a: Tensor, b: Tensor) -> Tensor:
    """Put two vectors side by side: (..., A) and (..., B) to (..., A + B); leading dims broadcast.

    The second takes the dtype of the first.
    """
    shape = torch.broadcast_shapes(a.shape[:-1], b.shape[:-1])
    return torch.cat([a.expand(*shape, -1), b.to(a.dtype).expand(*shape, -1)], -1)


def check_pairs(x: Tensor, c: Tensor, data_dim: int) -> None:
    """Look at the shape of data (N, D) that have a condition each.

    Raises
    ------
    InputError
        They have another shape, or are more or fewer than the conditions.
    """
    if count_rows(x, data_dim) != len(c):
        seen, cure = f"{len(x)} data", "give a row of c for every row of x"
        raise InputError("x", seen, f"{len(c)}, as many as conditions", cure)
