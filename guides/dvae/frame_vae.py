r"""Guides of the dynamical VAEs whose frames read latents only.

::

    FrameVAE   q(z_t | s_t)
    DKF        q(z_t | z_{t-1}, s_{t:T})     by a backward LSTM g_t; with both_ways, s_{1:T}
    RVAE       q(z_t | z_{1:t-1}, s_{t:T})   by a backward LSTM and one over z; not causal, s_{1:T}
    DSAE       q(v | s_{1:T}) q(z_t | v, s_{1:T})

The exact posterior of each has the dependencies written here (Girin et al. 2021, D-separation), but
for DSAE's z, which its paper reads in parallel.

References: those of `ppl_models.dvae.frame_vae`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from guides.dvae.base import Chain, DynamicalGuide, at_once
from ppl_models.dvae import FrameVAE
from ppl_models.networks import ConditionalNormal


class FrameVAEGuide(DynamicalGuide[FrameVAE]):
    """q(z | s) of `FrameVAE`, a frame at a time.

    Parameters
    ----------
    model : FrameVAE
    hidden_dims : sequence of int
        Hidden layers of the encoder.
    """

    def __init__(self, model: FrameVAE, *, hidden_dims: Sequence[int] = (128,)) -> None:
        super().__init__(model)
        self.encoder = ConditionalNormal(model.feature_dim, 0, hidden_dims, model.latent_dim)

    def chain(
        self, s: Tensor, seen: Tensor, w: Tensor | None, mask: Tensor | None, noise: float
    ) -> Chain:
        """z_t from s_t."""
        return at_once(self.encoder(seen), noise)
