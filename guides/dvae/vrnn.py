r"""The guide of VRNN: q(z_t | s_{1:t}, z_{1:t-1}) by the model's own h_t, and s_t.

It is the paper's choice and does not look ahead, though the exact posterior does (Girin et al.
2021).

References: those of `ppl_models.dvae.vrnn`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from guides.dvae.base import Chain, DynamicalGuide, frame_by_frame, scheduled
from ppl_models.dvae import VRNN, Past, Rollout
from ppl_models.networks import ConditionalNormal, Tensors
from ppl_models.sequences import Moments


class VRNNGuide(DynamicalGuide[VRNN]):
    """q(z | s) of `VRNN`: reads h_t with the model's LSTM, and s_t with the model's reader.

    Parameters
    ----------
    model : VRNN
    hidden_dims : sequence of int
        Hidden layers of the encoder.
    gaps : bool
        Whether encoders also read which numbers were seen, for data with gaps.
    """

    def __init__(self, model: VRNN, *, hidden_dims: Sequence[int] = (), gaps: bool = False) -> None:
        super().__init__(model, gaps=gaps)
        beside = self.read_dim - model.feature_dim  # which numbers were seen
        sizes = model.input_dim + beside, model.recurrence.hidden_dim
        self.encoder = ConditionalNormal(*sizes, hidden_dims, model.latent_dim)

    def chain(
        self, s: Tensor, features: Tensor, w: Tensor | None, mask: Tensor | None, noise: float
    ) -> Chain:
        """z_t from h_t and s_t; with scheduled sampling, h_t may read the model's own frames."""
        model, (features, seen) = self.model, self.split(features)
        read = model.reader(features)
        projected = self.encoder.project(torch.cat([read, seen], -1) if self.gaps else read)

        def moments(z: Tensor) -> Moments:
            h = model.read(model.teacher_forced_past(s, z, features=features))
            return self.encoder.step(projected, h)

        if model.scheduled:

            def encode(t: int, h: Tensor | None, past: Past) -> Moments:
                return self.encoder.step(projected[..., t : t + 1, :], h)

            return scheduled(model, s, features, encode, moments, noise)
        lstm, width = model.recurrence, read.shape[-1]
        first = model.reader(torch.zeros_like(features[..., :1, :]))
        gates = lstm.gates(torch.cat([first, read[..., :-1, :]], -2))
        advance = lstm.loop(width)

        def step(frame: Tensors, z: Tensor, state: Tensors) -> tuple[Moments, Tensors]:
            h, c = advance(model.latent_reader(z), state, frame[0])
            return self.encoder.step(frame[1], h), (h, c)

        def leave(z: Tensor, states: Tensors) -> None:
            model.leave(Rollout(states[0], z, s, None))

        contexts, states = [gates, projected], (lstm.hidden_dim,) * 2
        return frame_by_frame(self, contexts, step, moments, noise, states=states, leave=leave)
