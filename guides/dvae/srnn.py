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
from guides.dvae.motion_rate import Plugged, White, true_rates
from guides.dvae.motion_smoother import smooth_source
from ppl_models.distributions import normal_kl
from ppl_models.dvae import SRNN, Past, Rollout
from ppl_models.networks import LSTM, ConditionalNormal, Tensors
from ppl_models.sequences import Moments, clean, shift


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
        self,
        evidence: Evidence,
        previous_mean: Tensor,
        noise: Tensor | None = None,
        mask: Tensor | None = None,
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
        mask : Tensor of bool, optional
            (..., T), the frames that exist: z costs nothing in the others.

        Raises
        ------
        InputError
            The model's likelihood is not `Motion`, or has no increments to smooth.
        """
        (posterior, _), kl = self._step(evidence, previous_mean, noise, mask)
        rate = posterior.rate + clean(kl[..., None], mask).sum((-2, -1))
        return posterior._replace(rate=rate)

    def rate_draws(
        self,
        evidence: Evidence,
        previous_mean: Tensor,
        white: White,
        noise: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Return R estimates (R, ...) whose mean is the true rate of q(s) q(z | s).

        q(s) is that of `source_posterior`, taken with the same ``noise``; z is drawn by the encoder
        from each drawn path. Shapes and meaning of ``white``: `guides.dvae.motion_rate.White`.
        Gradients reach the encoder by z, and not by q(s).
        """

        def read(s: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
            h, z, q = self._latents(s, drawn, mask)
            return self.model.emission(h, z), self._kl(q, h, z)

        with torch.no_grad():
            plugged, _ = self._step(evidence, previous_mean, noise, mask)
        return true_rates(motion_of(self.model), evidence, plugged, read, white, mask)

    def _step(
        self,
        evidence: Evidence,
        previous_mean: Tensor,
        noise: Tensor | None,
        mask: Tensor | None,
    ) -> tuple[Plugged, Tensor]:
        """Return the E-S step, and KL (..., T) of the z that it was taken with."""
        model = self.model
        if noise is None:
            noise = previous_mean.new_empty(*previous_mean.shape[:-1], model.latent_dim).normal_()
        h, z, q = self._latents(previous_mean, noise, mask)
        if not self.smooth:
            posterior, h = filter_source(model, evidence, z)
            return Plugged(posterior, None), self._kl(q, h, z)
        raw = model.emission(h, z)
        plugged = Plugged(smooth_source(motion_of(model), evidence, raw), raw)
        return plugged, self._kl(q, h, z)

    def _latents(
        self, s: Tensor, noise: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Moments]:
        """Encode paths s: return h, z from ``noise``, and the moments of q(z_t | z_{t-1}, s)."""
        features = self.model.features(s, mask)
        context = self.context(self.read_features(s, mask), mask)
        h = self._states(features)
        projected, (_, of_h) = self.encoder.project(context), self._weights()
        return h, *sample_latents(self.encoder, projected + linear(h, of_h), noise)

    def _kl(self, q: Moments, h: Tensor, z: Tensor) -> Tensor:
        """Return KL (..., T) of each z_t against the prior given h_t and z_{t-1}."""
        kl: Tensor = normal_kl(q, self.model.prior(h, shift(z)))
        return kl
