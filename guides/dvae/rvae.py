r"""The guide of RVAE: q(z_t | z_{1:t-1}, s_{t:T}), or, not causal, q(z_t | z_{1:t-1}, s_{1:T}).

Both are the dependencies of the exact posterior (Girin et al. 2021, D-separation).

References: those of `ppl_models.dvae.rvae`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from guides.dvae.base import Chain, DynamicalGuide, frame_by_frame
from ppl_models.dvae import RVAE
from ppl_models.networks import LSTM, ConditionalNormal, Tensors
from ppl_models.sequences import Moments, shift


class RVAEGuide(DynamicalGuide[RVAE]):
    """q(z | s) of `RVAE`: LSTMs over the frames, and one over the latents before.

    Parameters
    ----------
    model : RVAE
        A causal one reads s_{t:T}, another s_{1:T}.
    recurrent_dim : int
        H of each LSTM.
    hidden_dims : sequence of int
        Layers after the two.
    gaps : bool
        Whether encoders also read which numbers were seen, for data with gaps.
    """

    def __init__(
        self,
        model: RVAE,
        *,
        recurrent_dim: int = 128,
        hidden_dims: Sequence[int] = (),
        gaps: bool = False,
    ) -> None:
        super().__init__(model, gaps=gaps)
        self.backward = LSTM(self.read_dim, recurrent_dim, backward=True)
        self.onward = None if model.causal else LSTM(self.read_dim, recurrent_dim)
        self.recurrence = LSTM(model.latent_dim, recurrent_dim)
        read_dim = recurrent_dim if model.causal else 2 * recurrent_dim
        self.encoder = ConditionalNormal(read_dim, recurrent_dim, hidden_dims, model.latent_dim)

    def chain(
        self, s: Tensor, features: Tensor, w: Tensor | None, mask: Tensor | None, noise: float
    ) -> Chain:
        """z_t from z_{1:t-1} and frames."""
        g = self.backward(features, mask)
        if self.onward is not None:
            g = torch.cat([g, self.onward(features)], -1)
        projected = self.encoder.project(g)

        lstm, advance = self.recurrence, self.recurrence.loop()

        def step(frame: Tensors, z: Tensor, state: Tensors) -> tuple[Moments, Tensors]:
            h, c = advance(z, state)
            return self.encoder.step(frame[0], h), (h, c)

        def moments(z: Tensor) -> Moments:
            return self.encoder.step(projected, lstm(shift(z)))

        states = (lstm.hidden_dim,) * 2
        return frame_by_frame(self, [projected], step, moments, noise, states=states)
