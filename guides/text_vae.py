r"""The guide of the VAE of sentences: an LSTM reads a sentence from its end, and infers its code.

.. math:: q(z \mid x) = N(z; \mu(h), \mathrm{diag} \, \sigma(h)^2), \qquad
          h = \mathrm{LSTM}(x_T, \dots, x_1)
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from guides.base import ReadingGuide
from ppl_models.networks import LSTM
from ppl_models.text_vae import TextVAE, check_tokens


class TextVAEGuide(ReadingGuide[TextVAE]):
    """Amortized diagonal Gaussian posterior q(z | x) of :class:`ppl_models.text_vae.TextVAE`.

    Bowman et al., "Generating Sentences from a Continuous Space", CoNLL 2016, section 3.

    Parameters
    ----------
    model : TextVAE
    embedding_dim, hidden_dim : int, optional
        Sizes of a token's embedding and of the LSTM's state; by default the model's.
    """

    def __init__(
        self, model: TextVAE, *, embedding_dim: int | None = None, hidden_dim: int | None = None
    ) -> None:
        super().__init__(model)
        inputs, width = embedding_dim or model.embedding_dim, hidden_dim or model.hidden_dim
        self.embedding = nn.Embedding(model.num_tokens, inputs)
        self.recurrence = LSTM(inputs, width, backward=True)
        self.moments = nn.Linear(width, 2 * model.latent_dim)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Sample ``z`` (N, L) for sentences ``x`` (N, T), of which the tokens in ``mask`` exist.

        Raises
        ------
        InputError
            As the model does.
        """
        check_tokens(x, mask, self.model.num_tokens)
        tokens = self.embedding(x if mask is None else torch.where(mask, x, 0))
        with pyro.plate("data", len(x), dim=-1):
            loc, log_scale = self.moments(self.recurrence(tokens, mask)[..., 0, :]).chunk(2, -1)
            return pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))
