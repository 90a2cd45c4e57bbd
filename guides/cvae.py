"""The guide of the conditional VAE: a code's posterior, read off its datum and its condition."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
from torch import Tensor, nn

from ppl_models.cvae import beside, check_pairs
from ppl_models.inputs import count_rows
from ppl_models.likelihoods import Likelihood, named
from ppl_models.networks import MLP, split_normal


class CVAEGuide(nn.Module):
    """Amortized diagonal Gaussian posterior q(z | x, c) of :class:`ppl_models.cvae.CVAE`.

    Sohn, Lee and Yan, "Learning Structured Output Representation using Deep Conditional Generative
    Models", NeurIPS 2015, section 4.1.

    Parameters
    ----------
    data_dim, condition_dim, latent_dim : int
        D, C and L, the model's.
    hidden_dim : int
        Width of the encoder's one hidden layer.
    encoder : nn.Module, optional
        Any network (N, F + C) -> (N, 2 L), features of the datum first, in place of the one made
        from ``hidden_dim``. F is D, or the ``feature_dim`` of the likelihood.
    likelihood : str or Likelihood, optional
        The model's, if it has a way of its own to be read (`Likelihood.features`).
    """

    def __init__(
        self,
        data_dim: int = 32,
        condition_dim: int = 32,
        latent_dim: int = 8,
        *,
        hidden_dim: int = 128,
        encoder: nn.Module | None = None,
        likelihood: str | Likelihood = "gaussian",
    ) -> None:
        super().__init__()
        part = named(likelihood, data_dim)
        self.data_dim, self.condition_dim = data_dim, condition_dim
        self.reader = part.reader  # no parameters of the model's
        inputs = part.feature_dim + condition_dim
        self.encoder = encoder or MLP(inputs, hidden_dim, 2 * latent_dim)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Sample ``z`` (N, L) for data ``x`` (N, D) and conditions ``c`` (N, C).

        Raises
        ------
        InputError
            One of them does not have its shape.
        """
        num_data = count_rows(c, self.condition_dim, "c")
        check_pairs(x, c, self.data_dim)
        with pyro.plate("data", num_data, dim=-1):
            loc, scale = split_normal(self.encoder(beside(self.reader(x), c)))
            return pyro.sample("z", dist.Normal(loc, scale).to_event(1))
