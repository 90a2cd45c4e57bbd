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
from torch import Tensor, nn

from guides.dvae.base import Chain, DynamicalGuide, at_once
from ppl_models.dvae import DSAE
from ppl_models.networks import LSTM, ConditionalNormal, together
from ppl_models.sequences import Moments


class DSAEGuide(DynamicalGuide[DSAE]):
    """q(v | s) q(z | v, s) of `DSAE`.

    Parameters
    ----------
    model : DSAE
    recurrent_dim : int
        H of every LSTM.
    hidden_dims : sequence of int
        Layers before the moments of v.
    """

    def __init__(
        self, model: DSAE, *, recurrent_dim: int = 128, hidden_dims: Sequence[int] = ()
    ) -> None:
        super().__init__(model)
        size = model.feature_dim
        self.code_onward = LSTM(size, recurrent_dim)
        self.code_backward = LSTM(size, recurrent_dim, backward=True)
        self.code_encoder = ConditionalNormal(2 * recurrent_dim, 0, hidden_dims, model.code_dim)
        self.onward = LSTM(size + model.code_dim, recurrent_dim)
        self.backward = LSTM(size + model.code_dim, recurrent_dim, backward=True)
        self.recurrence = nn.RNN(2 * recurrent_dim, recurrent_dim, batch_first=True)
        self.encoder = ConditionalNormal(recurrent_dim, 0, (), model.latent_dim)

    def code(self, seen: Tensor, mask: Tensor | None) -> Moments:
        """Read v from the last states of both LSTMs."""
        onward, backward = self.code_onward(seen), self.code_backward(seen, mask)[..., 0, :]
        moments: Moments = self.code_encoder(torch.cat([last(onward, mask), backward], -1))
        return moments

    def chain(
        self, s: Tensor, seen: Tensor, w: Tensor | None, mask: Tensor | None, noise: float
    ) -> Chain:
        """z_t from v and all frames."""
        assert w is not None  # a DSAE has one
        read = together(seen, w[..., None, :])
        both = torch.cat([self.onward(read), self.backward(read, mask)], -1)
        g, _ = self.recurrence(both.reshape(-1, *both.shape[-2:]))
        return at_once(self.encoder(g.reshape(*both.shape[:-1], -1)), noise)


def last(outputs: Tensor, mask: Tensor | None) -> Tensor:
    """Return the output at the last frame that exists: (..., T, H) -> (..., H)."""
    if mask is None:
        return outputs[..., -1, :]
    index = (mask.sum(-1) - 1).clamp_min(0)[..., None, None]
    return outputs.gather(-2, index.expand(*index.shape[:-1], outputs.shape[-1])).squeeze(-2)
