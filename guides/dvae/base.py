"""What the guides of dynamical VAEs share: latents sampled frame by frame, or all at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from guides.base import ReadingGuide, needed
from ppl_models.distributions import AutoregressiveNormal
from ppl_models.dvae import DynamicalVAE, Past
from ppl_models.networks import Span, Tensors, joined, set_span
from ppl_models.sequences import Moments, clean, hold, sequence_plate

Model = TypeVar("Model", bound=DynamicalVAE)
Step = Callable[[Tensors, Tensor, Tensors], tuple[Moments, Tensors]]


class DynamicalGuide(ReadingGuide[Model]):
    """q(w, z | s) of a `DynamicalVAE`, read off the frames' features.

    Parameters
    ----------
    model
        Read by reference: the guide's parameters are its own alone. Copy or pickle the two in one
        container, or the copy of the guide reads from another model.
    gaps
        Whether encoders also read which of the D numbers of a frame were seen, as D more features.
        With or without it, a number that was not seen is read as the last one seen in its place
        (`ppl_models.sequences.hold`).

    Attributes
    ----------
    read_dim : int
        Features of a frame that encoders read.
    span : Span
        For long sequences (`ppl_models.networks.lstm`): after ``guide.span = Span(100)`` every LSTM
        of guide and model, and every draw frame by frame, keeps the graph of 100 frames at a time;
        ``Span(100, truncated=True)`` also cuts the gradient between them.
    """

    _span = Span()

    def __init__(self, model: Model, *, gaps: bool = False) -> None:
        super().__init__(model)
        self.gaps = gaps
        self.read_dim = model.feature_dim + (model.data_dim if gaps else 0)

    @property
    def span(self) -> Span:
        """The segments that back-propagation holds at a time."""
        return self._span

    @span.setter
    def span(self, span: Span) -> None:
        self._span = span
        set_span(span, self, self.model)

    def forward(
        self,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        past: Tensor | None = None,
        *,
        observed: Tensor | None = None,
        from_past: bool = True,
    ) -> Tensor:
        """Sample the latents of B sequences s (B, T, D), mask and ``observed`` as in the model.

        With ``past`` (B, T, D), an estimate of s, the guide reads that in place of it.

        Raises
        ------
        InputError
            ``s`` is missing, not (B, T, D), NaN where it was seen, or the mask has a hole.
        """
        s = needed(s, expected="sequences (B, T, D)")
        with sequence_plate(s, mask, self.model.data_dim, observed=observed) as frames:
            if past is not None:
                return self.path(past, mask)
            return self.path(s, mask, observed=frames.observed)

    def path(
        self,
        s: Tensor,
        mask: Tensor | None = None,
        noise: float = 1.0,
        observed: Tensor | None = None,
    ) -> Tensor:
        """Sample the latents of one sequence in each place of the enclosing plates; return z.

        ``noise`` scales their standard deviations: 0 gives the path of means. ``observed``
        (..., T, D) is that of `ppl_models.sequences.numbers_seen`.
        """
        s = clean(s, mask) if observed is None else hold(s, observed)
        features, w = self.read_features(s, mask, observed), None
        if self.model.global_dim:
            q = dist.Normal(*self.encode_global(features, mask), validate_args=False).to_event(1)
            w = pyro.sample(self.model.global_site, q if noise else dist.Delta(q.mean, event_dim=1))
        shape = (s.shape[-2], self.model.latent_dim)
        chain = self.chain(s, features, w, mask, noise)
        batch = tuple(chain.like.shape[:-2])
        distribution = AutoregressiveNormal(
            chain.moments, chain.draw, shape, batch_shape=batch, mask=mask
        )
        return pyro.sample("z", distribution)

    def read_features(
        self, s: Tensor, mask: Tensor | None = None, observed: Tensor | None = None
    ) -> Tensor:
        """Return what encoders read of frames s (..., T, D): (..., T, read_dim), 0 at padding.

        The model's features, and with ``gaps`` a one for each number seen.
        """
        features = self.model.features(s, mask)
        if not self.gaps:
            return features
        seen = torch.ones_like(s, dtype=torch.bool) if observed is None else observed
        return torch.cat([features, clean(seen.to(features.dtype), mask)], -1)

    def split(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Split features (..., read_dim) into those that the model's networks read, and others."""
        size = self.model.feature_dim
        return features[..., :size], features[..., size:]

    def encode_global(self, features: Tensor, mask: Tensor | None) -> Moments:
        """Return mean and scale (..., W) of q(w | s), where the model has a w."""
        raise NotImplementedError

    def chain(
        self, s: Tensor, features: Tensor, w: Tensor | None, mask: Tensor | None, noise: float
    ) -> Chain:
        """Return q(z | s, w), given s, its features (..., T, F), and w (..., W)."""
        raise NotImplementedError


class Chain:
    """q(z | s, w) at one s and w: its draws, and the moments of any z.

    Parameters
    ----------
    moments
        From z, mean and scale (..., T, L) of every q(z_t | z_{1:t-1}, s, w).
    draw
        From a noise (..., T, L), z and its moments.
    shape
        T and L.
    like
        A tensor (..., T, .) of the batch, dtype and device of z.
    noise
        The scale of the noise.
    """

    def __init__(
        self,
        moments: Callable[[Tensor], Moments],
        draw: Callable[[Tensor], tuple[Tensor, Moments]],
        shape: tuple[int, int],
        like: Tensor,
        noise: float,
    ) -> None:
        self._moments, self._draw, self.shape, self.like = moments, draw, shape, like
        self.noise = noise
        self.drawn: tuple[Tensor, Moments] | None = None

    def draw(self, batch: torch.Size) -> Tensor:
        """Draw z (*batch, T, L), reparametrised."""
        empty = self.like.new_empty(*batch, *self.shape)
        noise = empty.normal_() * self.noise if self.noise else empty.zero_()
        self.drawn = self._draw(noise)
        return self.drawn[0]

    def moments(self, z: Tensor) -> Moments:
        """Return mean and scale of every conditional at once; those of the last draw are kept."""
        if self.drawn is not None and self.drawn[0] is z:
            return self.drawn[1]
        return self._moments(z)


def at_once(moments: Moments, noise: float) -> Chain:
    """Return the chain of latents that do not read one another: means and scales (..., T, L)."""
    mean, scale = moments

    def draw(e: Tensor) -> tuple[Tensor, Moments]:
        return torch.addcmul(mean, scale, e), moments

    shape = (mean.shape[-2], mean.shape[-1])
    return Chain(lambda z: moments, draw, shape, mean, noise)


def frame_by_frame(
    guide: DynamicalGuide[Any],
    contexts: Sequence[Tensor],
    step: Step,
    moments: Callable[[Tensor], Moments],
    noise: float,
    *,
    states: Sequence[int] = (),
    leave: Callable[[Tensor, Tensors], None] = lambda z, states: None,
) -> Chain:
    """Return the chain of latents of which each reads those before it.

    Parameters
    ----------
    guide
        Whose `span` says how much of a sequence back-propagation holds at a time.
    contexts
        Each (..., T, C): inputs of the step at every frame, computed before the loop.
    step
        From a frame's contexts (..., C), z_{t-1} (..., L) and states: mean and scale of z_t, and
        the next states.
    moments
        Mean and scale of all frames of a known path z (..., T, L).
    states
        Sizes of the states, which start at 0.
    leave
        Called with every path that is drawn, and its states (..., T, .).
    """

    def draw(e: Tensor) -> tuple[Tensor, Moments]:
        batch, runs = e.shape[:-2], list[Tensors]()
        given = tuple(e.new_zeros(*batch, size) for size in (e.shape[-1], *states))
        frames = [x.expand(*batch, *x.shape[-2:]) for x in contexts]
        for parts in zip(*(guide.span.cut(x) for x in (*frames, e)), strict=True):
            if runs:
                given = tuple(x[..., -1, :] for x in (runs[-1][0], *runs[-1][3:]))
            runs.append(guide.span.run(_segment, given, step, *parts))
        z, mean, scale, *kept = (joined(part) for part in zip(*runs, strict=True))
        leave(z, tuple(kept))
        return z, (mean, scale)

    like = contexts[0]
    return Chain(moments, draw, (like.shape[-2], guide.model.latent_dim), like, noise)


def _segment(given: Tensors, step: Step, *parts: Tensor) -> Tensors:
    """Return z, mean, scale and states of a segment's frames, from z and states before it."""
    kept = list[Tensors]()
    for *frame, e in zip(*(part.unbind(-2) for part in parts), strict=True):
        z, *state = given
        (mean, scale), after = step(tuple(frame), z, tuple(state))
        given = torch.addcmul(mean, scale, e), *after
        kept.append((given[0], mean, scale, *after))
    return tuple(torch.stack(part, -2) for part in zip(*kept, strict=True))


def scheduled(
    model: DynamicalVAE,
    s: Tensor,
    features: Tensor,
    encode: Callable[[int, Tensor | None, Past], Moments],
    moments: Callable[[Tensor], Moments],
    noise: float,
) -> Chain:
    """Return the chain of a guide that rolls out with the model, which reads frames of its own.

    ``encode(t, h_t, past)`` gives mean and scale (..., 1, L) of z_t; ``moments(z)`` those of a
    known path, as in `Chain`. The rollout is left for the model.
    """
    length = s.shape[-2]
    forced = model.teacher_forced_past(s, s.new_zeros(*s.shape[:-1], 0), features=features)

    def draw(e: Tensor) -> tuple[Tensor, Moments]:
        kept: list[Moments] = []

        def latent(t: int, h: Tensor | None, past: Past) -> Tensor:
            mean, scale = encode(t, h, past)
            kept.append((mean, scale))
            return torch.addcmul(mean, scale, e[..., t : t + 1, :])

        rollout = model.scheduled_rollout(forced, e.shape[:-2], length, None, latent=latent)
        model.leave(rollout._replace(s=s))
        means, scales = (torch.cat(part, -2) for part in zip(*kept, strict=True))
        return rollout.z, (means, scales)

    return Chain(moments, draw, (length, model.latent_dim), features, noise)
