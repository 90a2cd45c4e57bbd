r"""The guide of the deep Kalman filter: q(z_t | z_{t-1}, s_{t:T}), by a backward LSTM over frames.

With ``both_ways``, q(z_t | z_{t-1}, s_{1:T}). The exact posterior depends on z_{t-1} and s_{t:T}
(Girin et al. 2021, D-separation).

References: those of `ppl_models.dvae.dkf`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import linear

from guides.dvae.base import Chain, DynamicalGuide, frame_by_frame
from ppl_models.dvae import DKF
from ppl_models.networks import LSTM, MLP, ConditionalNormal, Tensors
from ppl_models.sequences import Moments, shift


class DKFGuide(DynamicalGuide[DKF]):
    """q(z | s) of `DKF`: a backward LSTM over frames, combined with z_{t-1}.

    Parameters
    ----------
    model : DKF
    input_dim : int
        Layer that reads a frame.
    recurrent_dim : int
        H of the backward LSTM.
    latent_dims : sequence of int
        Hidden layers that read z_{t-1}, before the combiner.
    hidden_dims : sequence of int
        Layers after the combiner.
    both_ways : bool
        Read s_{1:T} in place of s_{t:T}.
    gaps : bool
        Whether encoders also read which numbers were seen, for data with gaps.
    """

    def __init__(
        self,
        model: DKF,
        *,
        input_dim: int = 256,
        recurrent_dim: int = 128,
        latent_dims: Sequence[int] = (32,),
        hidden_dims: Sequence[int] = (32,),
        both_ways: bool = False,
        gaps: bool = False,
    ) -> None:
        super().__init__(model, gaps=gaps)
        self.reader = nn.Sequential(nn.Linear(self.read_dim, input_dim), nn.Tanh())
        self.backward = LSTM(input_dim, recurrent_dim, backward=True)
        self.onward = LSTM(input_dim, recurrent_dim) if both_ways else None
        sizes = (model.latent_dim, *latent_dims, recurrent_dim)
        self.latent_reader = nn.Sequential(MLP(*sizes), nn.Tanh())
        self.encoder = ConditionalNormal(recurrent_dim, 0, hidden_dims, model.latent_dim)

    def chain(
        self, s: Tensor, features: Tensor, w: Tensor | None, mask: Tensor | None, noise: float
    ) -> Chain:
        """z_t from z_{t-1} and g_t."""
        read = self.reader(features)
        g, parts = self.backward(read, mask), 2
        if self.onward is not None:
            g, parts = g + self.onward(read), 3

        projected = self.encoder.project(g / parts)
        share = self.encoder.context.weight / parts

        def combined(projected: Tensor, z: Tensor) -> Moments:
            moments: Moments = self.encoder.step(projected + linear(self.latent_reader(z), share))
            return moments

        def step(frame: Tensors, z: Tensor, state: Tensors) -> tuple[Moments, Tensors]:
            return combined(frame[0], z), ()

        def moments(z: Tensor) -> Moments:
            return combined(projected, shift(z))

        return frame_by_frame(self, [projected], step, moments, noise)
