r"""Guides of the dynamical VAEs: how to look back at z_{1:T} given a path s_{1:T}.

SRNN: q(z | s) = prod_t q(z_t | z_{t-1}, s), with the model's own h_t, causal or looking ahead

============  =====================================  ==============================================
of            causal, q(z_t | z_{t-1}, s_{1:t})      q(z_t | z_{t-1}, s_{1:T})
============  =====================================  ==============================================
paths         N(encoder(c_t, z_{t-1})),              the same of c_t = g_t, a backward LSTM over
              c_t = (h_t, s_t), as for tracking      (h_t, s_t)
frames        N(encoder(s_t, h_t, z_{t-1}))          N(encoder(g_t, h_t, z_{t-1})), g_t a backward
                                                     LSTM over s_t
============  =====================================  ==============================================

Of frames, h_t is what the model has read so far: where it reads frames that it told itself, the
encoder knows how these came out, and can make up for it.

DeepAR has nothing latent: its guide is empty.

References: those of `ppl_models.dvae`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from guides.base import ReadingGuide, needed
from guides.dvae.base import Chain, DynamicalGuide, frame_by_frame, scheduled
from guides.dvae.motion_filter import Evidence, SourcePosterior, draw_latents, filter_source
from guides.dvae.motion_smoother import smooth_source
from ppl_models.distributions import AutoregressiveNormal, normal_kl
from ppl_models.dvae import SRNN, DeepAR, Past, Rolled
from ppl_models.networks import LSTM, ConditionalNormal, Tensors
from ppl_models.sequences import Moments, check_paths, clean, shift


class SRNNGuide(DynamicalGuide[SRNN]):
    """q(z | s) of `SRNN`.

    Reads h_t from the model's own recurrence, by reference: the guide's parameters, and its
    `state_dict`, are the encoder's (and the backward LSTM's) alone. Copy or pickle model and guide
    together, in one container, or the copy of the guide reads from another model.

    Parameters
    ----------
    model : SRNN
    hidden_dims : sequence of int
        Hidden layers of the encoder.
    causal : bool
        Whether z_t looks at s_{1:t} only, or at the whole path.
    backward_dim : int
        Size of the backward LSTM where it looks at the whole.
    input_dim : int
        Layer that reads h_t and s_t, of frames s_t alone; 0 for none.
    smooth : bool
        Whether `source_posterior` looks both ways (`guides.dvae.motion_smoother`), or, as in the
        paper, back only (`guides.dvae.motion_filter`).
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
    ) -> None:
        super().__init__(model)
        self.smooth = smooth
        latent_dim, state_dim = model.latent_dim, model.recurrent_dim
        told_dim = 0 if model.likelihood is None else state_dim
        read_dim = model.feature_dim + state_dim - told_dim
        self.reader: Any = nn.Identity()
        if input_dim:
            self.reader = nn.Sequential(nn.Linear(read_dim, input_dim), nn.Tanh())
            read_dim = input_dim
        self.backward = None if causal else LSTM(read_dim, backward_dim, backward=True)
        context_dim = read_dim if causal else backward_dim
        self.encoder = ConditionalNormal(
            context_dim, latent_dim + told_dim, hidden_dims, latent_dim
        )

    def forward(
        self,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        past: Tensor | None = None,
        *,
        from_past: bool = True,
        size: int = 1,
        length: int = 60,
    ) -> Tensor:
        """Draw z (B, T, L) for B paths s (B, T, D) with `mask` (B, T) of existing frames.

        With `past` (B, T, D), an estimate of the path, that is read in place of s.
        """
        s = needed(s)
        check_paths(s, mask, self.model.data_dim)
        with pyro.plate("data", s.shape[0], dim=-1):
            return self.path(s if past is None else past, mask)

    def path(self, s: Tensor, mask: Tensor | None = None, noise: float = 1.0) -> Tensor:
        """Look back at one path in each place of the enclosing plates; return z."""
        if self.model.likelihood is not None:
            return super().path(s, mask, noise)
        return pyro.sample("z", self.latent(s, mask))

    def chain(
        self, s: Tensor, seen: Tensor, w: Tensor | None, mask: Tensor | None, noise: float
    ) -> Chain:
        """z_t from z_{t-1}, h_t and s_t or g_t."""
        model, projected = self.model, self.encoder.project(self.context(None, seen, mask))

        def at(frames: Tensor, h: Tensor, before: Tensor) -> Moments:
            return self.encoder.step(frames + self.encoder.known(h, model.latent_dim), before)

        def moments(z: Tensor) -> Moments:
            return at(projected, model.read(model.told_past(seen, z)), shift(z))

        def encode(t: int, h: Any, past: Past) -> Moments:
            return at(projected[..., t : t + 1, :], h, past.z)

        if model.scheduled:
            return scheduled(model, s, seen, encode, moments, noise)
        h = model.read(model.told_past(seen, seen.new_zeros(*seen.shape[:-1], 0)))
        frames = projected + self.encoder.known(h, model.latent_dim)

        def step(frame: Tensors, z: Tensor, state: Tensors) -> tuple[Moments, Tensors]:
            return self.encoder.step(frame[0], z), ()

        def leave(z: Tensor, states: Tensors) -> None:
            model.leave(Rolled(h, z, s, None))

        return frame_by_frame(self, [frames], step, moments, noise, leave=leave)

    def latent(self, s: Tensor, mask: Tensor | None = None) -> AutoregressiveNormal:
        """Return q(z | s), event (T, L)."""
        encoding = Encoding(self, s, mask)
        shape = (s.shape[-2], self.model.latent_dim)
        return AutoregressiveNormal(encoding.moments, encoding.draw, shape, mask=mask)

    def context(self, h: Tensor | None, moves: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return c (..., T, C) from h (..., T, H), if it is read, and moves (..., T, D)."""
        if h is None:
            read = self.reader(moves)
        elif isinstance(self.reader, nn.Identity):
            read = torch.cat([h, moves], -1)
        else:  # h and moves apart: data that needs no gradient is not differentiated
            first, activation = self.reader.children()
            of_h, of_moves = first.weight.split([h.shape[-1], moves.shape[-1]], -1)
            read = activation(linear(h, of_h) + linear(moves, of_moves, first.bias))
        return read if self.backward is None else self.backward(read, mask)

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
        """
        model = self.model
        moves = model.motion.moves(previous_mean)
        if noise is None:
            noise = moves.new_empty(*moves.shape[:-1], model.latent_dim).normal_()
        h = model.read_moves(moves)
        z, q = draw_latents(self.encoder, self.context(h, moves), noise)
        if self.smooth:
            posterior = smooth_source(model.motion, evidence, model.emission(h, z))
        else:
            posterior, h = filter_source(model, evidence, z)
        rate = normal_kl(q, model.prior(h, shift(z))).sum(-1)
        return posterior._replace(rate=posterior.rate + rate)


class DeepARGuide(ReadingGuide[DeepAR]):
    """The empty guide of `DeepAR`, which has nothing latent.

    Parameters
    ----------
    model : DeepAR
        Read by reference, for `source_posterior`.
    smooth : bool
        As in `SRNNGuide`.
    """

    def __init__(self, model: DeepAR, *, smooth: bool = False) -> None:
        super().__init__(model)
        self.smooth = smooth

    def forward(
        self,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        past: Tensor | None = None,
        *,
        from_past: bool = True,
        size: int = 1,
        length: int = 60,
    ) -> None:
        """Draw nothing."""

    def path(self, s: Tensor, mask: Tensor | None = None, noise: float = 1.0) -> None:
        """Draw nothing."""

    @torch.no_grad()
    def source_posterior(
        self, evidence: Evidence, previous_mean: Tensor, noise: Tensor | None = None
    ) -> SourcePosterior:
        """Take an E-S step: q(s) from evidence (..., T, D).

        `previous_mean` is read when smoothing only, and `noise` by guides with latents only.
        """
        if not self.smooth:
            return filter_source(self.model, evidence)[0]
        h = self.model.read_moves(self.model.motion.moves(previous_mean))
        return smooth_source(self.model.motion, evidence, self.model.emission(h))


class Encoding:
    """q(z | s) at one s: its draws, and the moments of any z."""

    def __init__(self, guide: SRNNGuide, s: Tensor, mask: Tensor | None) -> None:
        self.guide, self.past, self.mask = guide, s, mask
        self.moves = guide.model.motion.moves(clean(s, mask))
        self.drawn: tuple[Tensor, Moments] | None = None

    def draw(self, batch: torch.Size) -> Tensor:
        """Run the encoder's recursion; the model will find the h that was read on the way."""
        model = self.guide.model
        h, z, moments = self._scheduled(batch) if model.scheduled else self._forced(batch)
        self.drawn = z, moments
        model.leave_h(z, self.past, h)
        return z

    def moments(self, z: Tensor) -> Moments:
        """Return mean and scale of every q(z_t | z_{t-1}, s) at once, each (..., T, L)."""
        if self.drawn is not None and self.drawn[0] is z:
            return self.drawn[1]
        h = self.guide.model.read_moves(self.moves)
        return self.guide.encoder(self.guide.context(h, self.moves, self.mask), shift(z))

    def _forced(self, batch: torch.Size) -> tuple[Tensor, Tensor, Moments]:
        """Teacher forcing: only z feeds back."""
        encoder, h = self.guide.encoder, self.guide.model.read_moves(self.moves)
        projected = encoder.project(self.guide.context(h, self.moves, self.mask)).unbind(-2)
        noise = self._noise(batch)
        z, steps = torch.zeros_like(noise[0]), list[tuple[Tensor, Tensor, Tensor]]()
        for frame, e in zip(projected, noise, strict=True):
            mean, scale = encoder.step(frame, z)
            z = torch.addcmul(mean, scale, e)
            steps.append((z, mean, scale))
        z, mean, scale = (torch.stack(part, -2) for part in zip(*steps, strict=True))
        return h, z, (mean, scale)

    def _scheduled(self, batch: torch.Size) -> tuple[Tensor, Tensor, Moments]:
        """Scheduled sampling: encoder and model roll together. A backward LSTM reads the truth."""
        guide, moves, noise = self.guide, self.moves.unbind(-2), self._noise(batch)
        forced = None
        if guide.backward is not None:
            forced = guide.context(guide.model.read_moves(self.moves), self.moves, self.mask)

        def latent(t: int, h: Tensor, z: Tensor) -> Tensor:
            seen = moves[t].expand(*h.shape[:-1], -1)
            c = guide.context(h, seen) if forced is None else forced[..., t, :]
            mean, scale = guide.encoder(c, z)
            return torch.addcmul(mean, scale, noise[t])

        h, z = guide.model.read_scheduled(batch, self.moves, latent)
        context = guide.context(h, self.moves.expand(*batch, *self.moves.shape[-2:]), self.mask)
        return h, z, guide.encoder(context if forced is None else forced, shift(z))

    def _noise(self, batch: torch.Size) -> tuple[Tensor, ...]:
        shape = (*batch, self.moves.shape[-2], self.guide.model.latent_dim)
        return self.moves.new_empty(shape).normal_().unbind(-2)
