r"""Guides of the hierarchical Transformer DVAEs: q(w | s_{1:T}) prod_t q(z_t | s_{1:T}, w).

All z_t are computed in parallel, without a loop over frames. HiT-DVAE infers w with a recurrent
network, as its paper does; LigHT-DVAE, without one, with a mean over frames.

References: those of `ppl_models.dvae.transformer`.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from guides.dvae.base import Chain, DynamicalGuide, at_once
from guides.dvae.dsae import last
from ppl_models.dvae import HiTDVAE, LigHTDVAE, TransformerDVAE
from ppl_models.networks import LSTM, ConditionalNormal, Transformer
from ppl_models.sequences import Moments

Model = TypeVar("Model", bound=TransformerDVAE)


class _TransformerGuide(DynamicalGuide[Model]):
    """What both share: z_t from attention to the frames around t, and w.

    Parameters
    ----------
    model
    num_layers : int
        Of the encoder, whose other sizes are those of the model's decoders.
    gaps : bool
        Whether encoders also read which numbers were seen, for data with gaps.
    """

    def __init__(self, model: Model, *, num_layers: int = 2, gaps: bool = False) -> None:
        super().__init__(model, gaps=gaps)
        self.reader = nn.Linear(self.read_dim, model.dim)
        self.global_reader = nn.Linear(model.global_dim, model.dim)
        self.transformer = Transformer(model.dim, num_layers, causal=False, **model.settings)
        self.encoder = ConditionalNormal(model.dim, 0, (), model.latent_dim)

    def chain(
        self, s: Tensor, features: Tensor, w: Tensor | None, mask: Tensor | None, noise: float
    ) -> Chain:
        """z_t from s_{1:T} and w."""
        assert w is not None  # these models have one
        tokens = self.reader(features) + self.global_reader(w)[..., None, :]
        return at_once(self.encoder(self.transformer(tokens, mask)), noise)


class HiTDVAEGuide(_TransformerGuide[HiTDVAE]):
    """q(w, z | s) of `HiTDVAE`; w from the ends of LSTMs over frames, both ways.

    Parameters
    ----------
    model : HiTDVAE
    num_layers : int
    recurrent_dim : int
        H of each LSTM.
    gaps : bool
        Whether encoders also read which numbers were seen, for data with gaps.
    """

    def __init__(
        self,
        model: HiTDVAE,
        *,
        num_layers: int = 2,
        recurrent_dim: int = 128,
        gaps: bool = False,
    ) -> None:
        super().__init__(model, num_layers=num_layers, gaps=gaps)
        self.onward = LSTM(self.read_dim, recurrent_dim)
        self.backward = LSTM(self.read_dim, recurrent_dim, backward=True)
        self.global_encoder = ConditionalNormal(2 * recurrent_dim, 0, (), model.global_dim)

    def encode_global(self, features: Tensor, mask: Tensor | None) -> Moments:
        """Compute q(w | s) from s_{1:T}."""
        ends = last(self.onward(features), mask), self.backward(features, mask)[..., 0, :]
        moments: Moments = self.global_encoder(torch.cat(ends, -1))
        return moments


class LigHTDVAEGuide(_TransformerGuide[LigHTDVAE]):
    """q(w, z | s) of `LigHTDVAE`; w from the mean over frames of a network's outputs.

    Parameters
    ----------
    model : LigHTDVAE
    num_layers : int
    gaps : bool
        Whether encoders also read which numbers were seen, for data with gaps.
    """

    def __init__(self, model: LigHTDVAE, *, num_layers: int = 2, gaps: bool = False) -> None:
        super().__init__(model, num_layers=num_layers, gaps=gaps)
        self.summary = nn.Sequential(nn.Linear(self.read_dim, model.dim), nn.GELU())
        self.global_encoder = ConditionalNormal(model.dim, 0, (model.dim,), model.global_dim)

    def encode_global(self, features: Tensor, mask: Tensor | None) -> Moments:
        """Compute q(w | s) from s_{1:T}."""
        each = self.summary(features)
        if mask is None:
            pooled = each.mean(-2)
        else:
            weight = mask[..., None].to(each.dtype)
            pooled = (each * weight).sum(-2) / weight.sum(-2).clamp_min(1)
        moments: Moments = self.global_encoder(pooled)
        return moments
