"""Guides of the dynamical VAEs whose frames read latents only.

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
    """

    def __init__(
        self, model: RVAE, *, recurrent_dim: int = 128, hidden_dims: Sequence[int] = ()
    ) -> None:
        super().__init__(model)
        self.backward = LSTM(model.feature_dim, recurrent_dim, backward=True)
        self.onward = None if model.causal else LSTM(model.feature_dim, recurrent_dim)
        self.recurrence = LSTM(model.latent_dim, recurrent_dim)
        read_dim = recurrent_dim if model.causal else 2 * recurrent_dim
        self.encoder = ConditionalNormal(read_dim, recurrent_dim, hidden_dims, model.latent_dim)

    def chain(
        self, s: Tensor, seen: Tensor, w: Tensor | None, mask: Tensor | None, noise: float
    ) -> Chain:
        """z_t from z_{1:t-1} and frames."""
        g = self.backward(seen, mask)
        if self.onward is not None:
            g = torch.cat([g, self.onward(seen)], -1)
        projected = self.encoder.project(g)

        lstm, advance = self.recurrence, self.recurrence.loop()

        def step(frame: Tensors, z: Tensor, state: Tensors) -> tuple[Moments, Tensors]:
            h, c = advance(z, state)
            return self.encoder.step(frame[0], h), (h, c)

        def moments(z: Tensor) -> Moments:
            return self.encoder.step(projected, lstm(shift(z)))

        states = (lstm.hidden_dim,) * 2
        return frame_by_frame(self, [projected], step, moments, noise, states=states)
