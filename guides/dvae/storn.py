r"""The guide of STORN: q(z_t | s_{1:t}) by a forward LSTM, all frames in parallel.

It is the paper's choice and does not look ahead, though the exact posterior does (Girin et al.
2021).

References: those of `ppl_models.dvae.storn`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from guides.dvae.base import Chain, DynamicalGuide, at_once
from ppl_models.dvae import STORN
from ppl_models.networks import LSTM, ConditionalNormal


class STORNGuide(DynamicalGuide[STORN]):
    """q(z | s) of `STORN`.

    Parameters
    ----------
    model : STORN
    input_dim : int
        Layer that reads a frame.
    recurrent_dim : int
        H.
    hidden_dims : sequence of int
        Layers after the LSTM.
    gaps : bool
        Whether encoders also read which numbers were seen, for data with gaps.
    """

    def __init__(
        self,
        model: STORN,
        *,
        input_dim: int = 256,
        recurrent_dim: int = 128,
        hidden_dims: Sequence[int] = (64, 32),
        gaps: bool = False,
    ) -> None:
        super().__init__(model, gaps=gaps)
        self.reader = nn.Sequential(nn.Linear(self.read_dim, input_dim), nn.Tanh())
        self.recurrence = LSTM(input_dim, recurrent_dim)
        self.encoder = ConditionalNormal(recurrent_dim, 0, hidden_dims, model.latent_dim)

    def chain(
        self, s: Tensor, features: Tensor, w: Tensor | None, mask: Tensor | None, noise: float
    ) -> Chain:
        """z_t from s_{1:t}."""
        return at_once(self.encoder(self.recurrence(self.reader(features))), noise)
