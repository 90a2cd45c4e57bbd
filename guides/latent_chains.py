r"""Guides of the dynamical VAEs whose frames read latents only.

::

    FrameVAE   q(z_t | s_t)
    DKF        q(z_t | z_{t-1}, s_{t:T})     by a backward LSTM g_t; with both_ways, s_{1:T}
    RVAE       q(z_t | z_{1:t-1}, s_{t:T})   by a backward LSTM and one over z; not causal, s_{1:T}
    DSAE       q(v | s_{1:T}) q(z_t | v, s_{1:T})

The exact posterior of each has the dependencies written here (Girin et al. 2021, D-separation), but
for DSAE's z, which its paper reads in parallel.

References: those of `ppl_models.latent_chains`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from guides.chains import Chain, DynamicalGuide, at_once, frame_by_frame
from ppl_models.distributions.sequences import Moments
from ppl_models.latent_chains import DKF, DSAE, RVAE, FrameVAE
from ppl_models.networks.lstm import Tensors
from ppl_models.networks.mlp import LSTM, MLP, ConditionalNormal, together
from ppl_models.sequences import shift


class FrameVAEGuide(DynamicalGuide[FrameVAE]):
    """q(z | s) of `FrameVAE`, a frame at a time.

    Parameters
    ----------
    story : FrameVAE
    hidden : sequence of int
        Hidden layers of the encoder.
    """

    def __init__(self, story: FrameVAE, *, hidden: Sequence[int] = (128,)) -> None:
        super().__init__(story)
        self.encoder = ConditionalNormal(story.feature_dim, 0, hidden, story.latent_dim)

    def chain(
        self, s: Tensor, seen: Tensor, w: Tensor | None, mask: Tensor | None, noise: float
    ) -> Chain:
        """z_t from s_t."""
        return at_once(self.encoder(seen), noise)


class DKFGuide(DynamicalGuide[DKF]):
    """q(z | s) of `DKF`: a backward LSTM over frames, combined with z_{t-1}.

    Parameters
    ----------
    story : DKF
    input_dim : int
        Layer that reads a frame.
    recurrent_dim : int
        H of the backward LSTM.
    latent_dims : sequence of int
        Hidden layers that read z_{t-1}, before the combiner.
    hidden : sequence of int
        Layers after the combiner.
    both_ways : bool
        Read s_{1:T} in place of s_{t:T}.
    """

    def __init__(
        self,
        story: DKF,
        *,
        input_dim: int = 256,
        recurrent_dim: int = 128,
        latent_dims: Sequence[int] = (32,),
        hidden: Sequence[int] = (32,),
        both_ways: bool = False,
    ) -> None:
        super().__init__(story)
        self.reader = nn.Sequential(nn.Linear(story.feature_dim, input_dim), nn.Tanh())
        self.backward = LSTM(input_dim, recurrent_dim, backward=True)
        self.onward = LSTM(input_dim, recurrent_dim) if both_ways else None
        sizes = (story.latent_dim, *latent_dims, recurrent_dim)
        self.latent_reader = nn.Sequential(MLP(*sizes), nn.Tanh())
        self.encoder = ConditionalNormal(recurrent_dim, 0, hidden, story.latent_dim)

    def chain(
        self, s: Tensor, seen: Tensor, w: Tensor | None, mask: Tensor | None, noise: float
    ) -> Chain:
        """z_t from z_{t-1} and g_t."""
        read = self.reader(seen)
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


class RVAEGuide(DynamicalGuide[RVAE]):
    """q(z | s) of `RVAE`: LSTMs over the frames, and one over the latents before.

    Parameters
    ----------
    story : RVAE
        A causal one reads s_{t:T}, another s_{1:T}.
    recurrent_dim : int
        H of each LSTM.
    hidden : sequence of int
        Layers after the two.
    """

    def __init__(
        self, story: RVAE, *, recurrent_dim: int = 128, hidden: Sequence[int] = ()
    ) -> None:
        super().__init__(story)
        self.backward = LSTM(story.feature_dim, recurrent_dim, backward=True)
        self.onward = None if story.causal else LSTM(story.feature_dim, recurrent_dim)
        self.recurrence = LSTM(story.latent_dim, recurrent_dim)
        read_dim = recurrent_dim if story.causal else 2 * recurrent_dim
        self.encoder = ConditionalNormal(read_dim, recurrent_dim, hidden, story.latent_dim)

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


class DSAEGuide(DynamicalGuide[DSAE]):
    """q(v | s) q(z | v, s) of `DSAE`.

    Parameters
    ----------
    story : DSAE
    recurrent_dim : int
        H of every LSTM.
    hidden : sequence of int
        Layers before the moments of v.
    """

    def __init__(
        self, story: DSAE, *, recurrent_dim: int = 128, hidden: Sequence[int] = ()
    ) -> None:
        super().__init__(story)
        size = story.feature_dim
        self.code_onward = LSTM(size, recurrent_dim)
        self.code_backward = LSTM(size, recurrent_dim, backward=True)
        self.code_encoder = ConditionalNormal(2 * recurrent_dim, 0, hidden, story.code_dim)
        self.onward = LSTM(size + story.code_dim, recurrent_dim)
        self.backward = LSTM(size + story.code_dim, recurrent_dim, backward=True)
        self.recurrence = nn.RNN(2 * recurrent_dim, recurrent_dim, batch_first=True)
        self.encoder = ConditionalNormal(recurrent_dim, 0, (), story.latent_dim)

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
