"""The guide of the VAE of sentences: an LSTM reads a sentence's code off it, from its end."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppl_models.networks import LSTM
from ppl_models.text_vae import check_tokens


class TextVAEGuide(nn.Module):
    """Amortized diagonal Gaussian posterior q(z | x) of :class:`ppl_models.text_vae.TextVAE`.

    Bowman et al., "Generating Sentences from a Continuous Space", CoNLL 2016, section 3.

    Parameters
    ----------
    num_tokens, latent_dim : int
        V and L.
    embedding_dim, hidden_dim : int
        Sizes of a token's embedding, and of the state that has read the sentence.
    """

    def __init__(
        self,
        num_tokens: int = 20,
        latent_dim: int = 2,
        *,
        embedding_dim: int = 16,
        hidden_dim: int = 32,
    ) -> None:
        super().__init__()
        self.num_tokens = num_tokens
        self.embedding = nn.Embedding(num_tokens, embedding_dim)
        self.recurrence = LSTM(embedding_dim, hidden_dim, backward=True)
        self.moments = nn.Linear(hidden_dim, 2 * latent_dim)

    def forward(self, x: Tensor, mask: Tensor | None = None, num_data: int = 1) -> Tensor:
        """Sample ``z`` (N, L) for sentences ``x`` (N, T); ``num_data`` is the model's, and unused.

        Raises
        ------
        InputError
            As the model does.
        """
        check_tokens(x, mask, self.num_tokens)
        read = self.embedding(x if mask is None else torch.where(mask, x, 0))
        with pyro.plate("data", len(x), dim=-1):
            loc, log_scale = self.moments(self.recurrence(read, mask)[..., 0, :]).chunk(2, -1)
            return pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))
