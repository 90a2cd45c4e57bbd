"""Frames that are generated from frames: known ones read at once, or their own in a closed loop."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor

from ppl_models.distributions import AutoregressiveNormal, SequenceDistribution
from ppl_models.dvae import Memory
from ppl_models.sequences import Moments, draw
from ppl_models.video.coded import Maps, Reading


class FeedsBack(Protocol):
    """A model whose frames read the codes of frames before them."""

    latent_dim: int
    data_dim: int
    likelihood: Any

    def read(self, s: Tensor, mask: Tensor | None = None) -> Reading:
        """Read frames."""

    def latent(self, memory: Memory, codes: Tensor) -> Moments:
        """Return the prior's moments of z_t, given e_{t-1}."""

    def predict(self, memory: Memory, codes: Tensor, z: Tensor) -> Tensor:
        """Return g_t."""

    def paint(self, g: Tensor, maps: Maps | None) -> TorchDistribution:
        """Return the distribution of frames."""

    def by_heart(self, maps: Maps, start: int, count: int) -> Maps | None:
        """Return the maps that those frames read."""


class Generated(NamedTuple):
    """Frames generated one by one: latents, their moments, codes g, and the frames."""

    z: Tensor
    moments: Moments
    g: Tensor
    s: Tensor


def rollout(
    model: FeedsBack,
    reading: Reading,
    count: int,
    batch: torch.Size,
    z: Tensor | None = None,
    *,
    point: bool = False,
) -> Generated:
    """Generate frames 2, ..., 1 + count, of which the first ones are known by their codes.

    Parameters
    ----------
    reading
        Of the first K frames, (..., K, F).
    count
        Frames to generate. Frames 2 to K are read and not painted; only others are returned.
    batch
        What all batch dims expand to.
    z
        (*batch, n, L), latents of frames from the second on; those after them are drawn.
    point
        Read means of generated frames again, in place of draws.
    """
    codes, memory = reading.codes, Memory(stepwise=True)
    sizes = model.latent_dim, model.latent_dim, model.latent_dim, model.likelihood.raw_dim
    kept = [tuple(codes.new_empty(*batch, 0, size) for size in (*sizes, model.data_dim))]
    known, s = codes.shape[-2], codes
    maps = model.by_heart(reading.maps, known - 1, count)
    for t in range(count):
        if t < known:
            code = codes[..., t : t + 1, :].expand(*batch, 1, -1)
        else:
            code = model.read(s).codes
        mean, scale = model.latent(memory, code)
        now = draw((mean, scale)) if z is None or t >= z.shape[-2] else z[..., t : t + 1, :]
        g = model.predict(memory, code, now.expand(*batch, 1, -1))
        if t + 1 < known:
            continue
        painted = model.paint(g, _frame(maps, t + 1 - known))
        s = painted.mean if point else painted.sample()
        kept.append((now.expand(*batch, 1, -1), mean, scale, g, s))
    drawn, mean, scale, g, s = (torch.cat(part, -2) for part in zip(*kept, strict=True))
    return Generated(drawn, (mean, scale), g, s)


def _frame(maps: Maps | None, at: int) -> Maps | None:
    """Return the maps of one frame; those that all share have one."""
    if maps is None:
        return None
    return tuple(m if m.shape[-4] == 1 else m[..., at : at + 1, :, :, :] for m in maps)


class FedBackFrames:
    """Sites ``z`` and ``s`` of given videos: scored at once, from the frames before each.

    Attributes
    ----------
    given : Tensor
        (B, T - 1, D), the frames after the first one.
    z, later : Tensor, optional
        Values of the two sites, set as they are sampled: (..., T - 1, L) and (..., T - 1, D).
    """

    def __init__(self, model: Any, s: Tensor, reading: Reading, mask: Tensor | None = None) -> None:
        self.model, self.s, self.mask = model, s, None if mask is None else mask[:, 1:]
        self.given = s[:, 1:]
        self._reading = reading
        self.z: Tensor | None = None
        self.later: Tensor | None = None
        self._drawn: Generated | None = None

    def latents(self) -> AutoregressiveNormal:
        """Return prod_t p(z_t | s_{1:t-1}), event (T - 1, L)."""
        shape = (self.s.shape[-2] - 1, self.model.latent_dim)
        return AutoregressiveNormal(self._prior, self._draw_z, shape, mask=self.mask)

    def frames(self) -> SequenceDistribution:
        """Return prod_t p(s_t | s_{1:t-1}, z_{2:t}), event (T - 1, D)."""
        shape = (self.s.shape[-2] - 1, self.model.data_dim)
        return SequenceDistribution(self._emission, self._draw_s, shape, mask=self.mask)

    def reading(self) -> Reading:
        """Return what is read of the videos: of those given, or of those drawn in their place."""
        if self.later is not None and self.later is not self.given:
            first = self.s[..., :1, :].expand(*self.later.shape[:-2], 1, -1)
            self.s, self.given = torch.cat([first, self.later], -2), self.later
            self._reading = self.model.read(self.s)
        return self._reading

    def _prior(self, z: Tensor) -> Moments:
        mean, scale = self.model.latent(Memory(), self.reading().codes[..., :-1, :])
        shape = torch.broadcast_shapes(mean.shape, z.shape)
        return mean.expand(shape), scale.expand(shape)

    def _emission(self, s: Tensor) -> TorchDistribution:
        assert self.z is not None
        reading = self.reading()
        g = self.model.predict(Memory(), reading.codes[..., :-1, :], self.z)
        painted = self.model.paint(g, self.model.by_heart(reading.maps, 0, g.shape[-2]))
        return painted

    def _draw_z(self, batch: torch.Size) -> Tensor:
        self._drawn = self._roll(batch, None)
        return self._drawn.z

    def _draw_s(self, batch: torch.Size) -> Tensor:
        if self._drawn is None or self._drawn.z is not self.z or self.z.shape[:-2] != batch:
            assert self.z is not None
            self._drawn = self._roll(batch, self.z)
        return self._drawn.s

    def _roll(self, batch: torch.Size, z: Tensor | None) -> Generated:
        first = Reading(
            self._reading.codes[..., :1, :],
            tuple(part[..., :1, :, :, :] for part in self._reading.maps),
        )
        return rollout(self.model, first, self.s.shape[-2] - 1, batch, z)


class ClosedLoop:
    """Sites ``z_next`` and ``s_next``: frames after given ones, which read their own means.

    Parameters
    ----------
    model
    reading
        Of the T frames given.
    z
        (..., T - 1, L), their latents.
    future
        F.

    Attributes
    ----------
    latents_drawn : Tensor, optional
        The value of ``z_next``, set as it is sampled.
    """

    def __init__(self, model: Any, reading: Reading, z: Tensor, future: int) -> None:
        self.model, self.reading, self.z, self.future = model, reading, z, future
        self.latents_drawn: Tensor | None = None
        self._generated: Generated | None = None

    def latents(self) -> AutoregressiveNormal:
        """Return p(z_next), event (F, L), each given the means painted before it."""
        shape = (self.future, self.model.latent_dim)
        return AutoregressiveNormal(self._moments, self._draw, shape)

    def frames(self) -> TorchDistribution:
        """Return p(s_next | z_next), event (F, D)."""
        assert self.latents_drawn is not None
        generated = self._at(self.latents_drawn)
        known = self.reading.codes.shape[-2]
        maps = self.model.by_heart(self.reading.maps, known - 1, self.future)
        return self.model.paint(generated.g, maps).to_event(1)

    def _moments(self, z: Tensor) -> Moments:
        return self._at(z).moments

    def _draw(self, batch: torch.Size) -> Tensor:
        self._generated = self._roll(batch, self.z.expand(*batch, *self.z.shape[-2:]))
        return self._generated.z

    def _at(self, z: Tensor) -> Generated:
        if self._generated is None or self._generated.z is not z:
            before = self.z.expand(*z.shape[:-2], *self.z.shape[-2:])
            rolled = self._roll(z.shape[:-2], torch.cat([before, z], -2))
            self._generated = rolled._replace(z=z)
        return self._generated

    def _roll(self, batch: torch.Size, z: Tensor) -> Generated:
        count = self.reading.codes.shape[-2] - 1 + self.future
        return rollout(self.model, self.reading, count, batch, z, point=True)
