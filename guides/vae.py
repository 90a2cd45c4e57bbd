"""The guide of the variational autoencoder: one network reads a code's posterior off its datum."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
from torch import Tensor, nn

from ppl_models.inputs import count_rows
from ppl_models.networks import MLP


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
        Any network (N, D) -> (N, 2 L), means then log standard deviations, in place of the one made
        from ``hidden_dim``.
    """

    def __init__(
        self,
        data_dim: int = 64,
        latent_dim: int = 8,
        *,
        hidden_dim: int = 128,
        encoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.data_dim = data_dim
        self.encoder = encoder or MLP(data_dim, hidden_dim, 2 * latent_dim)

    def forward(self, x: Tensor | None = None, num_data: int = 1) -> Tensor:
        """Sample ``z`` (N, L) for data ``x`` (N, D); ``num_data`` is the story's, and unused.

        Raises
        ------
        InputError
            ``x`` does not have the shape (N, data_dim).
        """
        with pyro.plate("data", count_rows(x, self.data_dim), dim=-1):
            loc, log_scale = self.encoder(x).chunk(2, dim=-1)
            return pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))
