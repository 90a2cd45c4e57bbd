r"""The guide of the variational autoencoder: one network infers the code of each datum.

.. math:: q(z \mid x) = N(z; \mu(x), \mathrm{diag} \, \sigma(x)^2)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pyro
import pyro.distributions as dist
from torch import Tensor, nn

from guides.base import ReadingGuide
from ppl_models.inputs import check_widths, count_rows
from ppl_models.networks import MLP, split_normal
from ppl_models.vae import VAE


class VAEGuide(ReadingGuide[VAE]):
    """Amortized diagonal Gaussian posterior q(z | x) of :class:`ppl_models.vae.VAE`.

    Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014, section 3 and appendix C.2.

    Parameters
    ----------
    model : VAE
        Its likelihood makes the encoder's features (`Likelihood.features`): classes become one-hot,
        levels are rescaled.
    hidden_dims : sequence of int, optional
        Widths of the encoder's hidden layers; by default the decoder's, in reverse order.
    encoder : nn.Module, optional
        Any network (N, F) -> (N, 2 L), means then log standard deviations, in place of the one made
        from ``hidden_dims``. F is the ``feature_dim`` of the likelihood, in most cases D.
    """

    def __init__(
        self,
        model: VAE,
        *,
        hidden_dims: Sequence[int] | None = None,
        encoder: nn.Module | None = None,
    ) -> None:
        super().__init__(model)
        widths = model.hidden_dims[::-1] if hidden_dims is None else check_widths(hidden_dims)
        sizes = model.likelihood.feature_dim, *widths, 2 * model.latent_dim
        self.encoder = encoder or MLP(*sizes)

    def forward(self, x: Tensor | None = None) -> Tensor:
        """Sample ``z`` (N, L) for data ``x`` (N, D).

        Raises
        ------
        InputError
            ``x`` does not have the shape (N, data_dim).
        """
        with pyro.plate("data", count_rows(x, self.model.data_dim), dim=-1):
            features = self.model.likelihood.features(cast(Tensor, x))
            loc, scale = split_normal(self.encoder(features))
            return pyro.sample("z", dist.Normal(loc, scale).to_event(1))
