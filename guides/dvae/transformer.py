r"""Guides of the hierarchical Transformer DVAEs: q(w | s_{1:T}) prod_t q(z_t | s_{1:T}, w).

Latents are read in parallel: no loop over frames. HiT-DVAE infers w with a recurrent network, as
its paper does; LigHT-DVAE, without one, with a mean over frames.

References: those of `ppl_models.dvae.transformer`.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from guides.dvae.base import Chain, DynamicalGuide, at_once
from guides.dvae.dsae import last
from ppl_models.dvae.transformer import HiTDVAE, LigHTDVAE, _TransformerDVAE
from ppl_models.networks import LSTM, ConditionalNormal, Transformer
from ppl_models.sequences import Moments

Story = TypeVar("Story", bound=_TransformerDVAE)


class _TransformerGuide(DynamicalGuide[Story]):
    """What both share: z_t read by attention to the frames around t, and w.

    Parameters
    ----------
    story
    num_layers : int
        Of the encoder, whose other sizes are those of the story's decoders.
    """

    def __init__(self, story: Story, *, num_layers: int = 2) -> None:
        super().__init__(story)
        self.reader = nn.Linear(story.feature_dim, story.dim)
        self.code_reader = nn.Linear(story.code_dim, story.dim)
        self.transformer = Transformer(story.dim, num_layers, causal=False, **story.settings)
        self.encoder = ConditionalNormal(story.dim, 0, (), story.latent_dim)

    def chain(
        self, s: Tensor, seen: Tensor, w: Tensor | None, mask: Tensor | None, noise: float
    ) -> Chain:
        """z_t from s_{1:T} and w."""
        assert w is not None  # these stories have one
        tokens = self.reader(seen) + self.code_reader(w)[..., None, :]
        return at_once(self.encoder(self.transformer(tokens, mask)), noise)


class HiTDVAEGuide(_TransformerGuide[HiTDVAE]):
    """q(w, z | s) of `HiTDVAE`; w from the ends of LSTMs over frames, both ways.

    Parameters
    ----------
    story : HiTDVAE
    num_layers : int
    recurrent_dim : int
        H of each LSTM.
    """

    def __init__(self, story: HiTDVAE, *, num_layers: int = 2, recurrent_dim: int = 128) -> None:
        super().__init__(story, num_layers=num_layers)
        self.onward = LSTM(story.feature_dim, recurrent_dim)
        self.backward = LSTM(story.feature_dim, recurrent_dim, backward=True)
        self.code_encoder = ConditionalNormal(2 * recurrent_dim, 0, (), story.code_dim)

    def code(self, seen: Tensor, mask: Tensor | None) -> Moments:
        """Read w from s_{1:T}."""
        ends = last(self.onward(seen), mask), self.backward(seen, mask)[..., 0, :]
        moments: Moments = self.code_encoder(torch.cat(ends, -1))
        return moments


class LigHTDVAEGuide(_TransformerGuide[LigHTDVAE]):
    """q(w, z | s) of `LigHTDVAE`; w from the mean of what a network makes of each frame.

    Parameters
    ----------
    story : LigHTDVAE
    num_layers : int
    """

    def __init__(self, story: LigHTDVAE, *, num_layers: int = 2) -> None:
        super().__init__(story, num_layers=num_layers)
        self.summary = nn.Sequential(nn.Linear(story.feature_dim, story.dim), nn.GELU())
        self.code_encoder = ConditionalNormal(story.dim, 0, (story.dim,), story.code_dim)

    def code(self, seen: Tensor, mask: Tensor | None) -> Moments:
        """Read w from s_{1:T}."""
        each = self.summary(seen)
        if mask is None:
            pooled = each.mean(-2)
        else:
            weight = mask[..., None].to(each.dtype)
            pooled = (each * weight).sum(-2) / weight.sum(-2).clamp_min(1)
        moments: Moments = self.code_encoder(pooled)
        return moments
