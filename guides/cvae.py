r"""The guide of the conditional VAE: one network infers a code from a datum and its condition.

.. math:: q(z \mid x, c) = N(z; \mu(x, c), \mathrm{diag} \, \sigma(x, c)^2)
"""

from __future__ import annotations

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
from torch import Tensor, nn

from guides.base import ReadingGuide
from ppl_models.cvae import CVAE, beside, check_pairs
from ppl_models.inputs import check_widths, count_rows
from ppl_models.networks import MLP, split_normal


class CVAEGuide(ReadingGuide[CVAE]):
    """Amortized diagonal Gaussian posterior q(z | x, c) of :class:`ppl_models.cvae.CVAE`.

    Sohn, Lee and Yan, "Learning Structured Output Representation using Deep Conditional Generative
    Models", NeurIPS 2015, section 4.1.

    Parameters
    ----------
    model : CVAE
        Its likelihood makes the encoder's features of x (`Likelihood.features`).
    hidden_dims : sequence of int, optional
        Widths of the encoder's hidden layers; by default the decoder's, in reverse order.
    encoder : nn.Module, optional
        Any network (N, F + C) -> (N, 2 L), features of the datum first, in place of the one made
        from ``hidden_dims``. F is the ``feature_dim`` of the likelihood, in most cases D.
    """

    def __init__(
        self,
        model: CVAE,
        *,
        hidden_dims: Sequence[int] | None = None,
        encoder: nn.Module | None = None,
    ) -> None:
        super().__init__(model)
        widths = model.hidden_dims[::-1] if hidden_dims is None else check_widths(hidden_dims)
        inputs = model.likelihood.feature_dim + model.condition_dim
        self.encoder = encoder or MLP(inputs, *widths, 2 * model.latent_dim)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Sample ``z`` (N, L) for data ``x`` (N, D) and conditions ``c`` (N, C).

        Raises
        ------
        InputError
            One of them does not have its shape.
        """
        size = count_rows(c, self.model.condition_dim, "c")
        check_pairs(x, c, self.model.data_dim)
        with pyro.plate("data", size, dim=-1):
            features = self.model.likelihood.features(x)
            loc, scale = split_normal(self.encoder(beside(features, c)))
            return pyro.sample("z", dist.Normal(loc, scale).to_event(1))
