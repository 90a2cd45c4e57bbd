"""The guide of FrameVAE: q(z_t | s_t), which is what the exact posterior depends on."""

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
    gaps : bool
        Whether encoders also read which numbers were seen, for data with gaps.
    """

    def __init__(
        self, model: FrameVAE, *, hidden_dims: Sequence[int] = (128,), gaps: bool = False
    ) -> None:
        super().__init__(model, gaps=gaps)
        self.encoder = ConditionalNormal(self.read_dim, 0, hidden_dims, model.latent_dim)

    def chain(
        self, s: Tensor, features: Tensor, w: Tensor | None, mask: Tensor | None, noise: float
    ) -> Chain:
        """z_t from s_t."""
        return at_once(self.encoder(features), noise)
