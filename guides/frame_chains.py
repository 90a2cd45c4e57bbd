r"""Guides of the autoregressive dynamical VAEs.

::

    STORN   q(z_t | s_{1:t})               by a forward LSTM: all frames in parallel
    VRNN    q(z_t | s_{1:t}, z_{1:t-1})    by the story's own h_t, and s_t

Both are the papers' choices; neither looks ahead, though the exact posteriors do (Girin et al.
2021, on the two models).

References: those of `ppl_models.frame_chains`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from guides.chains import Chain, DynamicalGuide, at_once, frame_by_frame, scheduled
from ppl_models.distributions.sequences import Moments
from ppl_models.dynamical import Past, Rolled
from ppl_models.frame_chains import STORN, VRNN
from ppl_models.networks.lstm import Tensors
from ppl_models.networks.mlp import LSTM, ConditionalNormal


class STORNGuide(DynamicalGuide[STORN]):
    """q(z | s) of `STORN`.

    Parameters
    ----------
    story : STORN
    input_dim : int
        Layer that reads a frame.
    recurrent_dim : int
        H.
    hidden : sequence of int
        Layers after the LSTM.
    """

    def __init__(
        self,
        story: STORN,
        *,
        input_dim: int = 256,
        recurrent_dim: int = 128,
        hidden: Sequence[int] = (64, 32),
    ) -> None:
        super().__init__(story)
        self.reader = nn.Sequential(nn.Linear(story.feature_dim, input_dim), nn.Tanh())
        self.recurrence = LSTM(input_dim, recurrent_dim)
        self.encoder = ConditionalNormal(recurrent_dim, 0, hidden, story.latent_dim)

    def chain(
        self, s: Tensor, seen: Tensor, w: Tensor | None, mask: Tensor | None, noise: float
    ) -> Chain:
        """z_t from s_{1:t}."""
        return at_once(self.encoder(self.recurrence(self.reader(seen))), noise)


class VRNNGuide(DynamicalGuide[VRNN]):
    """q(z | s) of `VRNN`: reads h_t with the story's LSTM, and s_t with the story's reader.

    Parameters
    ----------
    story : VRNN
    hidden : sequence of int
        Hidden layers of the encoder.
    """

    def __init__(self, story: VRNN, *, hidden: Sequence[int] = ()) -> None:
        super().__init__(story)
        sizes = story.input_dim, story.recurrence.hidden_dim
        self.encoder = ConditionalNormal(*sizes, hidden, story.latent_dim)

    def chain(
        self, s: Tensor, seen: Tensor, w: Tensor | None, mask: Tensor | None, noise: float
    ) -> Chain:
        """z_t from h_t and s_t; with scheduled sampling, h_t reads frames that were told too."""
        story, read = self.story, self.story.reader(seen)
        projected = self.encoder.project(read)

        def moments(z: Tensor) -> Moments:
            h = story.read(story.told_past(seen, z))
            return self.encoder.step(projected, h)

        if story.scheduled:

            def encode(t: int, h: Tensor | None, past: Past) -> Moments:
                return self.encoder.step(projected[..., t : t + 1, :], h)

            return scheduled(story, s, seen, encode, moments, noise)
        lstm, width = story.recurrence, read.shape[-1]
        first = story.reader(torch.zeros_like(seen[..., :1, :]))
        gates = lstm.gates(torch.cat([first, read[..., :-1, :]], -2))
        advance = lstm.loop(width)

        def step(frame: Tensors, z: Tensor, state: Tensors) -> tuple[Moments, Tensors]:
            h, c = advance(story.latent_reader(z), state, frame[0])
            return self.encoder.step(frame[1], h), (h, c)

        def leave(z: Tensor, states: Tensors) -> None:
            story.leave(Rolled(states[0], z, s, None))

        contexts, states = [gates, projected], (lstm.hidden_dim,) * 2
        return frame_by_frame(self, contexts, step, moments, noise, states=states, leave=leave)
