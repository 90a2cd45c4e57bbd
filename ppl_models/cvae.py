r"""The conditional variational autoencoder: a datum is decoded from a latent code and a condition.

::

    c                                          the condition: C numbers, given and never scored
    c -> z ~ Normal(0, I), or p(z | c)         the code: L latent numbers
    c, z -> x ~ likelihood(decoder(z, c))      the datum: D numbers, bits, classes or levels

.. math:: p(x, z \mid c) = p(z \mid c) \, p(x \mid z, c)

With the fixed prior p(z | c) = p(z) the model makes z independent of c. Where c determines much of
x, as the upper half of an image does the lower, the guide makes z depend on c all the same, and a
code drawn from the prior decodes badly. The learned prior avoids this; its code is less easily
interpreted.

References
----------
Sohn, Lee and Yan, "Learning Structured Output Representation using Deep Conditional Generative
Models", NeurIPS 2015, section 4.1.
M. Chen, "Learning with weak supervision using deep generative networks", PhD thesis, Sorbonne
Université 2020, equation 2.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import pyro
import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ppl_models.errors import InputError
from ppl_models.inputs import check_widths, count_rows
from ppl_models.likelihoods import Likelihood, named
from ppl_models.networks import MLP
from ppl_models.priors import ConditionalPrior, StandardPrior

PriorName = Literal["standard", "learned"]


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
    hidden_dims : sequence of int
        Widths of the hidden layers of the decoder and of a learned prior.
    prior : "standard" or "learned"
        Normal(0, I) for every c, or a Gaussian whose mean and scale are a network's of c
        (`ppl_models.priors.ConditionalPrior`).
    likelihood : "gaussian", "bernoulli" or Likelihood
        The distribution of x given code and condition (`ppl_models.likelihoods`).
    scale : float, optional
        Standard deviation of ``"gaussian"``, as for `VAE`.
    decoder : nn.Module, optional
        Any network (..., L + C) -> (..., likelihood.raw_dim), code first, in place of the one made
        from ``hidden_dims``.

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
        hidden_dims: Sequence[int] = (128,),
        prior: PriorName = "standard",
        likelihood: str | Likelihood = "gaussian",
        scale: float | None = None,
        decoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.data_dim, self.condition_dim, self.latent_dim = data_dim, condition_dim, latent_dim
        self.hidden_dims = check_widths(hidden_dims)
        self.likelihood = named(likelihood, data_dim, scale)
        inputs = latent_dim + condition_dim
        self.decoder = decoder or MLP(inputs, *self.hidden_dims, self.likelihood.raw_dim)
        if prior not in get_args(PriorName):
            cure = '"learned" where conditions determine much of the data, else "standard"'
            raise InputError("prior", repr(prior), '"standard" or "learned"', cure)
        self.learned = prior == "learned"
        self.prior = (
            ConditionalPrior(condition_dim, latent_dim, self.hidden_dims)
            if self.learned
            else StandardPrior(latent_dim)
        )

    def forward(self, x: Tensor | None, c: Tensor) -> Tensor:
        """Score data ``x`` (N, D) given conditions ``c`` (N, C); without x, simulate it.

        Raises
        ------
        InputError
            ``c`` or ``x`` does not have these shapes, or x cannot be data of the likelihood.
        """
        size = count_rows(c, self.condition_dim, "c")
        if x is not None:
            check_pairs(x, c, self.data_dim)
            self.likelihood.check(x)
        with pyro.plate("data", size, dim=-1):
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
    """Check the shape of data (N, D) that have a condition each.

    Raises
    ------
    InputError
        They have another shape, or are more or fewer than the conditions.
    """
    if count_rows(x, data_dim) != len(c):
        found, cure = f"{len(x)} data", "give a row of c for every row of x"
        raise InputError("x", found, f"{len(c)}, as many as conditions", cure)
