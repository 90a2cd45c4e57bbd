r"""The guide of DSAE: q(v | s_{1:T}) prod_t q(z_t | v, s_{1:T}).

z is computed in parallel, as in the paper; in the exact posterior the z_t depend on one another.

References: those of `ppl_models.dvae.dsae`.
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
    gaps : bool
        Whether encoders also read which numbers were seen, for data with gaps.
    """

    def __init__(
        self,
        model: DSAE,
        *,
        recurrent_dim: int = 128,
        hidden_dims: Sequence[int] = (),
        gaps: bool = False,
    ) -> None:
        super().__init__(model, gaps=gaps)
        size = self.read_dim
        self.global_onward = LSTM(size, recurrent_dim)
        self.global_backward = LSTM(size, recurrent_dim, backward=True)
        self.global_encoder = ConditionalNormal(2 * recurrent_dim, 0, hidden_dims, model.global_dim)
        self.onward = LSTM(size + model.global_dim, recurrent_dim)
        self.backward = LSTM(size + model.global_dim, recurrent_dim, backward=True)
        self.recurrence = nn.RNN(2 * recurrent_dim, recurrent_dim, batch_first=True)
        self.encoder = ConditionalNormal(recurrent_dim, 0, (), model.latent_dim)

    def encode_global(self, features: Tensor, mask: Tensor | None) -> Moments:
        """V from the last states of both LSTMs."""
        onward, backward = self.global_onward(features), self.global_backward(features, mask)
        ends = torch.cat([last(onward, mask), backward[..., 0, :]], -1)
        moments: Moments = self.global_encoder(ends)
        return moments

    def chain(
        self, s: Tensor, features: Tensor, w: Tensor | None, mask: Tensor | None, noise: float
    ) -> Chain:
        """z_t from v and all frames."""
        assert w is not None  # a DSAE has one
        read = together(features, w[..., None, :])
        both = torch.cat([self.onward(read), self.backward(read, mask)], -1)
        g, _ = self.recurrence(both.reshape(-1, *both.shape[-2:]))
        return at_once(self.encoder(g.reshape(*both.shape[:-1], -1)), noise)


def last(outputs: Tensor, mask: Tensor | None) -> Tensor:
    """Return the output at the last frame that exists: (..., T, H) -> (..., H)."""
    if mask is None:
        return outputs[..., -1, :]
    index = (mask.sum(-1) - 1).clamp_min(0)[..., None, None]
    return outputs.gather(-2, index.expand(*index.shape[:-1], outputs.shape[-1])).squeeze(-2)
