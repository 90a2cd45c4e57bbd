r"""Hierarchical Transformer dynamical VAEs: w for the whole sequence, z_t for each frame.

p(w) prod_t p(z_t | s_{1:t-1}, z_{1:t-1}, w) p(s_t | s_{1:t-1}, z_{1:t}, w)

::

    HiTDVAE     two decoders, each with attention over latents and, crossed, over frames
                  z_{1:t-1} + w  x  s_{1:t-1}  -> h_t -> z_t      (decoder of z)
                  z_{1:t} + w    x  s_{1:t-1}  -> s_t             (decoder of s)
    LigHTDVAE   one decoder that both share, of latents and frames added up
                  z_{1:t-1} + s_{1:t-1} + w    -> h_t
                  h_t, z_{t-1} + w             -> z_t
                  h_t, z_t                     -> s_t

======  ==============  ===========
site    batch shape     event shape
======  ==============  ===========
``w``   the plate data  (W,)
``z``   the plate data  (T, L)
``s``   the plate data  (T, D)
======  ==============  ===========

The dependencies are the sources'; the layers are ours, since those of the paper are not published
in the sources of this package: normalisation first, attention to the last ``window`` frames, biases
by distance. Both are trained with plain teacher forcing. A share ``forget`` of the frames read is
left out in training ("word dropout", Bowman et al. 2016), so that generated frames do not depend
much on past frames, which are the model's own once it runs freely.

References: X. Lin, X. Bie, S. Leglaive, L. Girin, X. Alameda-Pineda, "Speech modeling with a
hierarchical transformer dynamical VAE", ICASSP 2023, arXiv:2303.09404 (HiT-DVAE, LigHT-DVAE); S. R.
Bowman et al., "Generating sentences from a continuous space", CoNLL 2016, section 3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ppl_models.dvae.base import DynamicalVAE
from ppl_models.dvae.past import Past
from ppl_models.errors import InputError
from ppl_models.networks import ConditionalNormal, ResidualMLP, Transformer, together
from ppl_models.sequences import Moments


class TransformerDVAE(DynamicalVAE):
    """What both share: how frames, latents and w become tokens (..., T, C).

    Parameters
    ----------
    data_dim, latent_dim, global_dim : int
        D, L and W.
    dim : int
        C, width of the decoders.
    num_layers, heads, window : int
        Those of `ppl_models.networks.attention.Transformer`.
    forget : float
        Chance that a frame is not read, in training.
    dropout : float
        Of the decoders.
    **options
        ``likelihood``, as in `DynamicalVAE`.

    Raises
    ------
    InputError
        ``forget`` is no number from 0 to 1.
    """

    autoregressive = True

    def __init__(
        self,
        data_dim: int = 4,
        latent_dim: int = 4,
        *,
        global_dim: int = 4,
        dim: int = 128,
        num_layers: int = 2,
        heads: int = 4,
        window: int = 32,
        forget: float = 0.9,
        dropout: float = 0.0,
        **options: Any,
    ) -> None:
        if not isinstance(forget, int | float) or not 0 <= forget <= 1:
            raise InputError("forget", repr(forget), "a chance, from 0 to 1", "forget=0.9")
        super().__init__(data_dim, latent_dim, global_dim=global_dim, **options)
        self.dim, self.forget = dim, forget
        self.settings: dict[str, Any] = dict(heads=heads, window=window, dropout=dropout)
        self.reader = nn.Linear(self.feature_dim, dim)
        self.latent_reader = nn.Linear(latent_dim, dim)
        self.global_reader = nn.Linear(global_dim, dim)

    def of_frames(self, past: Past) -> Tensor:
        """Return tokens of the past frames, zeros for those that are left out."""
        if past.s.dim() == 0:
            return past.z.new_zeros(*past.z.shape[:-1], self.dim)
        tokens: Tensor = self.reader(past.s)
        if self.training and self.forget:
            kept = torch.rand(tokens.shape[:-1], device=tokens.device) >= self.forget
            tokens = tokens * kept[..., None]
        return tokens

    def closed_loop(self, z: Tensor, w: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Return the emission's outputs for given latents, with all past frames left out.

        A decoder trained without most past frames can do without them, and what it then makes of
        latents depends on nothing else. Shapes as in `DynamicalVAE`.
        """
        if not self.forget or self.likelihood.reads_past:
            return super().closed_loop(z, w, mask)
        past = self.teacher_forced_past(None, z, w, mask)
        return self.outputs(self.read(past), z, past)

    def of_latents(self, z: Tensor, past: Past) -> Tensor:
        """Return tokens of latents, and of w."""
        tokens: Tensor = self.latent_reader(z) + self.global_reader(past.w)
        return tokens


class HiTDVAE(TransformerDVAE):
    """Hierarchical Transformer DVAE: a decoder for latents and one for frames.

    Parameters are those of the base class: ``data_dim``, ``latent_dim``, ``global_dim``, ``dim``,
    ``num_layers``, ``heads``, ``window``, ``forget``, ``dropout``, ``likelihood``.
    """

    def __init__(self, data_dim: int = 4, latent_dim: int = 4, **options: Any) -> None:
        num_layers = options.get("num_layers", 2)
        super().__init__(data_dim, latent_dim, **options)
        self.prior = ConditionalNormal(self.dim, 0, (), latent_dim)
        self.latent_decoder = Transformer(self.dim, num_layers, crossed=True, **self.settings)
        self.frame_decoder = Transformer(self.dim, num_layers, crossed=True, **self.settings)
        self.emission = nn.Linear(self.dim, self.likelihood.raw_dim)

    def read(self, past: Past) -> Tensor:
        """h_t from s_{1:t-1}, z_{1:t-1} and w."""
        tokens = together(self.of_latents(past.z, past), self.of_frames(past))
        return past.memory(self.latent_decoder, tokens)

    def latent(self, h: Tensor | None, past: Past) -> Moments:
        """z_t from h_t."""
        moments: Moments = self.prior(h)
        return moments

    def frame(self, h: Tensor | None, z: Tensor, past: Past) -> Tensor:
        """s_t from s_{1:t-1}, z_{1:t} and w."""
        tokens = together(self.of_latents(z, past), self.of_frames(past))
        raw: Tensor = self.emission(past.memory(self.frame_decoder, tokens))
        return raw


class LigHTDVAE(TransformerDVAE):
    """The light one: prior and emission share one decoder, and nothing is crossed.

    Where the KL term is weighed down, frames alone shape what is shared; so the prior also has two
    layers of its own, which read the latent before once more. Parameters are those of `HiTDVAE`.
    """

    def __init__(self, data_dim: int = 4, latent_dim: int = 4, **options: Any) -> None:
        num_layers = options.get("num_layers", 2)
        super().__init__(data_dim, latent_dim, **options)
        self.prior = ConditionalNormal(self.dim, self.dim, (self.dim, self.dim), latent_dim)
        self.decoder = Transformer(self.dim, num_layers, **self.settings)
        self.now = nn.Linear(latent_dim, self.dim)
        self.emission = ResidualMLP(self.dim, self.dim, self.dim, self.likelihood.raw_dim)

    def read(self, past: Past) -> Tensor:
        """h_t from s_{1:t-1}, z_{1:t-1} and w."""
        return past.memory(self.decoder, self.of_latents(past.z, past) + self.of_frames(past))

    def latent(self, h: Tensor | None, past: Past) -> Moments:
        """z_t from h_t, z_{t-1} and w."""
        moments: Moments = self.prior(h, self.of_latents(past.z, past))
        return moments

    def frame(self, h: Tensor | None, z: Tensor, past: Past) -> Tensor:
        """s_t from h_t and z_t."""
        assert h is not None
        raw: Tensor = self.emission(h + self.now(z))
        return raw
