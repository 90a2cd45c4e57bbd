"""The guide of the variational autoencoder: one network reads a code's posterior off its datum."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
from torch import Tensor, nn

from ppl_models.inputs import count_rows
from ppl_models.likelihoods import Likelihood, named
from ppl_models.networks import MLP, split_normal


class VAEGuide(nn.Module):
    """Amortized diagonal Gaussian posterior q(z | x) of :class:`ppl_models.vae.VAE`.

    Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014, section 3 and appendix C.2.

    Parameters
    ----------
    data_dim : int
        D, numbers a datum.
    latent_dim : int
        L, numbers of its code.
    hidden_dim : int
        Width of the encoder's one hidden layer.
    encoder : nn.Module, optional
        Any network (N, F) -> (N, 2 L), means then log standard deviations, in place of the one made
        from ``hidden_dim``. F is D, or the ``feature_dim`` of the likelihood.
    likelihood : str or Likelihood, optional
        The model's, if it has a way of its own to be read (`Likelihood.features`): classes are
        one-hot to the encoder, levels rescaled.
    """

    def __init__(
        self,
        data_dim: int = 64,
        latent_dim: int = 8,
        *,
        hidden_dim: int = 128,
        encoder: nn.Module | None = None,
        likelihood: str | Likelihood = "gaussian",
    ) -> None:
        super().__init__()
        part = named(likelihood, data_dim)
        self.data_dim, self.reader = data_dim, part.reader  # no parameters of the model's
        self.encoder = encoder or MLP(part.feature_dim, hidden_dim, 2 * latent_dim)

    def forward(self, x: Tensor | None = None, num_data: int = 1) -> Tensor:
        """Sample ``z`` (N, L) for data ``x`` (N, D); ``num_data`` is the model's, and unused.

        Raises
        ------
        InputError
            ``x`` does not have the shape (N, data_dim).
        """
        with pyro.plate("data", count_rows(x, self.data_dim), dim=-1):
            loc, scale = split_normal(self.encoder(self.reader(x)))
            return pyro.sample("z", dist.Normal(loc, scale).to_event(1))
