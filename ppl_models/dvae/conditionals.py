"""The distributions of the sites of a model that is told frame by frame.

z_t may depend on frames before it, and s_t on z_t, so neither site can be *drawn* before the other.
But a density is only asked for once the model is told: by then `Told` knows w, z and s, and each
site is scored in all frames at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from ppl_models.distributions import AutoregressiveNormal, SequenceDistribution
from ppl_models.dvae.past import Past, Rolled
from ppl_models.sequences import Moments

if TYPE_CHECKING:
    from ppl_models.dvae.base import DynamicalVAE


class Told:
    """What is told so far of a sequence: w, z and s once they are.

    The sites' distributions hang on it. Asked to draw z of a model that feeds back, it tells s
    along with it and keeps that for the site of s; asked for a density, it reads the values that
    the sites took, be they drawn, replayed from a guide, or observed.
    """

    def __init__(self, model: DynamicalVAE, length: int, mask: Tensor | None) -> None:
        self.model, self.length, self.mask = model, length, mask
        self.w: Tensor | None = None
        self.z: Tensor | None = None
        self.s: Tensor | None = None
        self._drawn: Rolled | None = None
        self._read: tuple[Rolled, Past] | None = None

    def whole_code(self) -> TorchDistribution:
        """Return p(w), event (W,)."""
        zeros = next(self.model.parameters()).new_zeros(self.model.code_dim)
        return dist.Normal(zeros, torch.ones_like(zeros), validate_args=False).to_event(1)

    def latent(self) -> AutoregressiveNormal:
        """Return prod_t p(z_t | s_{1:t-1}, z_{1:t-1}, w), event (T, L)."""
        shape = (self.length, self.model.latent_dim)
        return AutoregressiveNormal(self._prior, self._draw_z, shape, mask=self.mask)

    def frames(self) -> SequenceDistribution:
        """Return prod_t p(s_t | s_{1:t-1}, z_{1:t}, w), event (T, D)."""
        return SequenceDistribution(
            self._distribution, self._draw_s, (self.length, self.model.data_dim), mask=self.mask
        )

    def _prior(self, z: Tensor) -> Moments:
        reading, past = self._reading(z)
        return self.model.latent(reading.h, past)

    def _distribution(self, s: Tensor) -> TorchDistribution:
        z = self.z
        if z is None:
            if self.model.latent_dim:
                raise RuntimeError("s can be scored only once z is told")
            z = s.new_zeros(*s.shape[:-1], 0)
        reading, past = self._reading(z, s)
        raw = reading.raw
        if raw is None:
            raw = self.model.frame(reading.h, z, past)
        return self.model.likelihood(raw)

    def _reading(self, z: Tensor, s: Tensor | None = None) -> tuple[Rolled, Past]:
        """Return what is read of the past, once for prior and emission."""
        s = self.s if s is None else s
        kept = self._read
        if kept is not None and kept[0].z is z and kept[0].s is s:
            return kept[0], kept[1]
        model = self.model
        if model.feeds_back and s is None:
            raise RuntimeError("z can be scored only once s is told")
        features = model.features(s, self.mask) if model.feeds_back and s is not None else None
        past = model.told_past(features, z, self.w, self.mask)
        rolled = None if s is None else model.take(z, s)
        if rolled is None and model.scheduled and features is not None:
            rolled = model.rolled_on(features, z.shape[:-2], self.w, z=z)
        h, raw = (model.read(past), None) if rolled is None else (rolled.h, rolled.raw)
        self._read = Rolled(h, z, s, raw), past
        return self._read

    def _draw_z(self, batch: torch.Size) -> Tensor:
        model = self.model
        self._drawn = model.roll(batch, self.length, self.w, frames=model.feeds_back)
        return self._drawn.z

    def _draw_s(self, batch: torch.Size) -> Tensor:
        drawn, z = self._drawn, self.z
        if drawn is not None and drawn.s is not None and drawn.z is z and z.shape[:-2] == batch:
            return drawn.s
        if z is None:  # a model without latents
            z = next(self.model.parameters()).new_zeros(self.length, 0)
        z = z.expand(*batch, *z.shape[-2:])
        if self.model.feeds_back:
            rolled: Tensor = self.model.roll(batch, self.length, self.w, z=z).s
            return rolled
        past = self.model.told_past(None, z, self.w, self.mask)
        return self.model.likelihood(self.model.frame(self.model.read(past), z, past)).sample()
