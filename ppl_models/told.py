"""The laws of the sites of a story that is told frame by frame.

z_t may depend on frames before it, and s_t on z_t, so neither site can be *drawn* before the other.
But a density is only asked for once the story is told: by then `Told` knows w, z and s, and each
site is scored in all frames at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor

from ppl_models.distributions import AutoregressiveNormal, Moments
from ppl_models.past import Past, Rolled

if TYPE_CHECKING:
    from ppl_models.dynamical import DynamicalVAE


class SequenceLaw(TorchDistribution):
    """prod_t p(x_t | x_{1:t-1}), with any law of a frame: one site a sequence.

    Parameters
    ----------
    law : callable
        From a value (..., T, D), the laws of its frames: batch shape (..., T), event shape (D,).
        That of frame t may depend on rows before t only; nothing checks it.
    draw : callable
        From a batch shape, a sequence (*shape, T, D).
    event_shape : tuple of int
        (T, D).
    batch_shape : tuple of int
        The enclosing plates expand it. `mask` brings its own.
    mask : Tensor of bool, optional
        (..., T), the frames that exist; the others add nothing to the density. A value to be scored
        must be finite there too (`ppl_models.motion.clean`).

    Raises
    ------
    ValueError
        A value whose last two dims are not `event_shape`.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.independent(constraints.real, 2)
    has_rsample = False

    def __init__(
        self,
        law: Callable[[Tensor], TorchDistribution],
        draw: Callable[[torch.Size], Tensor],
        event_shape: tuple[int, int],
        *,
        batch_shape: tuple[int, ...] = (),
        mask: Tensor | None = None,
    ) -> None:
        self.law, self.draw, self.mask_frames = law, draw, mask
        if mask is not None:
            batch_shape = torch.broadcast_shapes(batch_shape, mask.shape[:-1])
        super().__init__(torch.Size(batch_shape), torch.Size(event_shape), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> SequenceLaw:
        """Return the same law with a larger batch shape: independent sequences of it."""
        event = self.event_shape[0], self.event_shape[1]
        batch = tuple(batch_shape)
        return SequenceLaw(self.law, self.draw, event, batch_shape=batch, mask=self.mask_frames)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw sequences (*sample_shape, *batch_shape, T, D)."""
        return self.draw(torch.Size(sample_shape) + self.batch_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density of sequences (..., T, D): (...)."""
        return self.score_frames(value).sum(-1)

    def score_frames(self, value: Tensor) -> Tensor:
        """Return log p(x_t | x_{1:t-1}) of every frame: (..., T)."""
        if value.shape[-2:] != self.event_shape:
            raise ValueError(
                f"a sequence of event shape {tuple(self.event_shape)} (frames, dim) is expected, "
                f"got a value of shape {tuple(value.shape)}"
            )
        frames: Tensor = self.law(value).log_prob(value)
        if self.mask_frames is not None:
            frames = torch.where(self.mask_frames, frames, torch.zeros_like(frames))
        return frames.expand(*torch.broadcast_shapes(frames.shape[:-1], self.batch_shape), -1)


class Told:
    """What is told so far of a sequence: w, z and s once they are.

    The sites' laws hang on it. Asked to draw z of a story that feeds back, it tells s along with it
    and keeps that for the site of s; asked for a density, it reads the values that the sites took,
    be they drawn, replayed from a guide, or observed.
    """

    def __init__(self, story: DynamicalVAE, length: int, mask: Tensor | None) -> None:
        self.story, self.length, self.mask = story, length, mask
        self.w: Tensor | None = None
        self.z: Tensor | None = None
        self.s: Tensor | None = None
        self._drawn: Rolled | None = None
        self._read: tuple[Rolled, Past] | None = None

    def whole_code(self) -> TorchDistribution:
        """Return p(w), event (W,)."""
        zeros = next(self.story.parameters()).new_zeros(self.story.code_dim)
        return dist.Normal(zeros, torch.ones_like(zeros), validate_args=False).to_event(1)

    def latent(self) -> AutoregressiveNormal:
        """Return prod_t p(z_t | s_{1:t-1}, z_{1:t-1}, w), event (T, L)."""
        shape = (self.length, self.story.latent_dim)
        return AutoregressiveNormal(self._prior, self._draw_z, shape, mask=self.mask)

    def frames(self) -> SequenceLaw:
        """Return prod_t p(s_t | s_{1:t-1}, z_{1:t}, w), event (T, D)."""
        return SequenceLaw(
            self._law, self._draw_s, (self.length, self.story.data_dim), mask=self.mask
        )

    def _prior(self, z: Tensor) -> Moments:
        reading, past = self._reading(z)
        return self.story.latent(reading.h, past)

    def _law(self, s: Tensor) -> TorchDistribution:
        z = self.z
        if z is None:
            if self.story.latent_dim:
                raise RuntimeError("s can be scored only once z is told")
            z = s.new_zeros(*s.shape[:-1], 0)
        reading, past = self._reading(z, s)
        raw = reading.raw
        if raw is None:
            raw = self.story.frame(reading.h, z, past)
        return self.story.likelihood(raw)

    def _reading(self, z: Tensor, s: Tensor | None = None) -> tuple[Rolled, Past]:
        """Return what is read of the past, once for prior and emission."""
        s = self.s if s is None else s
        kept = self._read
        if kept is not None and kept[0].z is z and kept[0].s is s:
            return kept[0], kept[1]
        story = self.story
        if story.feeds_back and s is None:
            raise RuntimeError("z can be scored only once s is told")
        features = story.features(s, self.mask) if story.feeds_back and s is not None else None
        past = story.told_past(features, z, self.w, self.mask)
        rolled = None if s is None else story.take(z, s)
        if rolled is None and story.scheduled and features is not None:
            rolled = story.rolled_on(features, z.shape[:-2], self.w, z=z)
        h, raw = (story.read(past), None) if rolled is None else (rolled.h, rolled.raw)
        self._read = Rolled(h, z, s, raw), past
        return self._read

    def _draw_z(self, batch: torch.Size) -> Tensor:
        story = self.story
        self._drawn = story.roll(batch, self.length, self.w, frames=story.feeds_back)
        return self._drawn.z

    def _draw_s(self, batch: torch.Size) -> Tensor:
        drawn, z = self._drawn, self.z
        if drawn is not None and drawn.s is not None and drawn.z is z and z.shape[:-2] == batch:
            return drawn.s
        if z is None:  # a story without latents
            z = next(self.story.parameters()).new_zeros(self.length, 0)
        z = z.expand(*batch, *z.shape[-2:])
        if self.story.feeds_back:
            rolled: Tensor = self.story.roll(batch, self.length, self.w, z=z).s
            return rolled
        past = self.story.told_past(None, z, self.w, self.mask)
        return self.story.likelihood(self.story.frame(self.story.read(past), z, past)).sample()
