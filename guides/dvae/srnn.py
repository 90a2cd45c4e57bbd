r"""The guide of SRNN: prod_t q(z_t | z_{t-1}, h_t, ...), with h_t read by the model itself.

======  ==========================  ==========================================================
form    q(z_t | ...)                parameters
======  ==========================  ==========================================================
causal  z_{t-1}, s_{1:t}            N(encoder(s_t, h_t, z_{t-1}))
else    z_{t-1}, s_{1:T}            N(encoder(g_t, h_t, z_{t-1})), g_t a backward LSTM over s_t
======  ==========================  ==========================================================

h_t is what the model has read so far: where it reads frames that it generated itself, the encoder
has them among its inputs, and can correct for them.

References: those of `ppl_models.dvae.srnn`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from guides.dvae.base import Chain, DynamicalGuide, frame_by_frame, scheduled
from guides.dvae.motion_filter import (
    Evidence,
    SourcePosterior,
    filter_source,
    motion_of,
    sample_latents,
)
from guides.dvae.motion_smoother import smooth_source
from ppl_models.distributions import normal_kl
from ppl_models.dvae import SRNN, Past, Rollout
from ppl_models.networks import LSTM, ConditionalNormal, Tensors
from ppl_models.sequences import Moments, shift


class SRNNGuide(DynamicalGuide[SRNN]):
    """q(z | s) of `SRNN`.

    Parameters
    ----------
    model : SRNN
    hidden_dims : sequence of int
        Hidden layers of the encoder.
    causal : bool
        Whether z_t depends on s_{1:t} only, or on the whole sequence.
    backward_dim : int
        Size of the backward LSTM, where it depends on the whole.
    input_dim : int
        Layer that reads s_t; 0 for none.
    smooth : bool
        Whether `source_posterior` smooths (`guides.dvae.motion_smoother`), or, as in the paper of
        tracking, filters (`guides.dvae.motion_filter`).
    gaps : bool
        Whether encoders also read which numbers were seen, for data with gaps.
    """

    def __init__(
        self,
        model: SRNN,
        *,
        hidden_dims: Sequence[int] = (16, 8),
        causal: bool = True,
        backward_dim: int = 8,
        input_dim: int = 0,
        smooth: bool = False,
        gaps: bool = False,
    ) -> None:
        super().__init__(model, gaps=gaps)
        self.smooth = smooth
        read_dim, fed_dim = self.read_dim, model.latent_dim + model.recurrence.hidden_dim
        self.reader: nn.Module = nn.Identity()
        if input_dim:
            self.reader = nn.Sequential(nn.Linear(read_dim, input_dim), nn.Tanh())
            read_dim = input_dim
        self.backward = None if causal else LSTM(read_dim, backward_dim, backward=True)
        context_dim = read_dim if causal else backward_dim
        self.encoder = ConditionalNormal(context_dim, fed_dim, hidden_dims, model.latent_dim)

    def context(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return s_t as it is read, or g_t: (..., T, C), from features (..., T, F)."""
        read: Tensor = self.reader(features)
        return read if self.backward is None else self.backward(read, mask)

    def chain(
        self, s: Tensor, features: Tensor, w: Tensor | None, mask: Tensor | None, noise: float
    ) -> Chain:
        """z_t from z_{t-1}, h_t and s_t or g_t."""
        model, encoder = self.model, self.encoder
        projected, of_z, of_h = encoder.project(self.context(features, mask)), *self._weights()
        features, _ = self.split(features)

        def at(frames: Tensor, before: Tensor) -> Moments:
            return encoder.split(encoder.head(frames + linear(before, of_z)))

        def moments(z: Tensor) -> Moments:
            return at(projected + linear(self._states(features), of_h), shift(z))

        def encode(t: int, h: Any, past: Past) -> Moments:
            return at(projected[..., t : t + 1, :] + linear(h, of_h), past.z)

        if model.scheduled:
            return scheduled(model, s, features, encode, moments, noise)
        h = self._states(features)
        frames = projected + linear(h, of_h)

        def step(frame: Tensors, z: Tensor, state: Tensors) -> tuple[Moments, Tensors]:
            return at(frame[0], z), ()

        def leave(z: Tensor, states: Tensors) -> None:
            model.leave(Rollout(h, z, s, None))

        return frame_by_frame(self, [frames], step, moments, noise, leave=leave)

    def _weights(self) -> tuple[Tensor, Tensor]:
        """Return the encoder's weights of z_{t-1} and of h_t, sliced once for a loop."""
        fed = self.encoder.input
        assert fed is not None
        of_z, of_h = fed.weight.split([self.model.latent_dim, self.model.recurrence.hidden_dim], 1)
        return of_z, of_h

    def _states(self, features: Tensor) -> Tensor:
        """Return h (..., T, H), which no latent changes."""
        z = features.new_zeros(*features.shape[:-1], 0)
        return self.model.read(self.model.teacher_forced_past(None, z, features=features))

    @torch.no_grad()
    def source_posterior(
        self, evidence: Evidence, previous_mean: Tensor, noise: Tensor | None = None
    ) -> SourcePosterior:
        """Take an E-S step: q(s) from evidence (..., T, D), z drawn at the last mean.

        Parameters
        ----------
        evidence : Evidence
        previous_mean : Tensor
            (..., T, D), the posterior mean of the iteration before, which the encoder reads, and
            when smoothing the model's networks too.
        noise : Tensor, optional
            (..., T, L), standard normal; pass the same in every iteration for common random
            numbers, zeros for the encoder's mean path. By default drawn.

        Raises
        ------
        InputError
            The model's likelihood is not `Motion`, or has no increments to smooth.
        """
        model, features = self.model, self.model.features(previous_mean)
        context = self.context(self.read_features(previous_mean))
        if noise is None:
            noise = features.new_empty(*features.shape[:-1], model.latent_dim).normal_()
        h = self._states(features)
        projected, (_, of_h) = self.encoder.project(context), self._weights()
        z, q = sample_latents(self.encoder, projected + linear(h, of_h), noise)
        if self.smooth:
            posterior = smooth_source(motion_of(model), evidence, model.emission(h, z))
        else:
            posterior, h = filter_source(model, evidence, z)
        rate = normal_kl(q, model.prior(h, shift(z))).sum(-1)
        return posterior._replace(rate=posterior.rate + rate)
