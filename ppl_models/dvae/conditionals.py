"""The distributions of the sites of a dynamical VAE.

z_t may depend on frames before it, and s_t on z_t, so neither site can be *drawn* before the other.
But a density is only asked for once the model has run: by then `FrameConditionals` has w, z and s,
and each site is scored in all frames at once (teacher forcing).
"""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from ppl_models.distributions import AutoregressiveNormal, SequenceDistribution
from ppl_models.dvae.past import Past, Rollout
from ppl_models.dvae.recursion import Recursion
from ppl_models.sequences import Moments


class FrameConditionals:
    """The conditionals of w, z_t and s_t, given the values of the sites so far.

    The sites' distributions hang on it. Asked to draw z of an autoregressive model, it generates s
    along with it and keeps that for the site of s; asked for a density, it reads the values that
    the sites took, be they drawn, replayed from a guide, or observed.

    Parameters
    ----------
    model : Recursion
    length : int
        T.
    mask : Tensor of bool, optional
        (..., T), the frames that exist.
    past : Tensor, optional
        (..., T, D), an estimate of s that networks read in place of it.
    observed : Tensor of bool, optional
        (..., T, D), the numbers that were seen. Where past frames are read, the others are drawn
        from the model, given z and what was seen before them, anew whenever they are read.
    from_past : bool
        Whether a likelihood that reads the past reads that estimate too, or s itself.

    Attributes
    ----------
    w, z, s : Tensor, optional
        The values of the sites, set as they are sampled.
    """

    def __init__(
        self,
        model: Recursion,
        length: int,
        mask: Tensor | None = None,
        past: Tensor | None = None,
        observed: Tensor | None = None,
        *,
        from_past: bool = True,
    ) -> None:
        self.model, self.length, self.mask, self.observed = model, length, mask, observed
        self.past, self.from_past = past, from_past
        self.w: Tensor | None = None
        self.z: Tensor | None = None
        self.s: Tensor | None = None
        self._drawn: Rollout | None = None
        self._read: tuple[Rollout, Past] | None = None

    def global_latent(self) -> TorchDistribution:
        """Return p(w), event (W,)."""
        zeros = next(self.model.parameters()).new_zeros(self.model.global_dim)
        return dist.Normal(zeros, torch.ones_like(zeros), validate_args=False).to_event(1)

    def latent(self) -> AutoregressiveNormal:
        """Return prod_t p(z_t | s_{1:t-1}, z_{1:t-1}, w), event (T, L)."""
        shape = (self.length, self.model.latent_dim)
        return AutoregressiveNormal(
            self._prior, self._draw_z, shape, mask=self.mask, estimates=self._estimates
        )

    def frames(self) -> SequenceDistribution:
        """Return prod_t p(s_t | s_{1:t-1}, z_{1:t}, w), event (T, D)."""
        shape, fill = (self.length, self.model.data_dim), None
        if self.model.autoregressive and self.past is None and not self.model.noncausal:
            fill = self._complete
        masks: Any = {"mask": self.mask, "observed": self.observed}
        if self.model.latent_dim:
            masks["estimates"] = self._estimates
        return SequenceDistribution(self._emission, self._draw_s, shape, **masks, fill=fill)

    @property
    def _estimates(self) -> bool:
        """Whether densities depend on draws of what was not seen."""
        return self.observed is not None and self.model.autoregressive and self.past is None

    def _prior(self, z: Tensor) -> Moments:
        reading, past = self._reading(z)
        return self.model.latent(reading.h, past)

    def _emission(self, s: Tensor) -> TorchDistribution:
        z = self.z
        if z is None:
            if self.model.latent_dim:
                raise RuntimeError("s can be scored only once z has a value")
            z = s.new_zeros(*s.shape[:-1], 0)
        reading, past = self._reading(z, s)
        raw = reading.raw
        return self.model.likelihood(self.model.outputs(reading.h, z, past) if raw is None else raw)

    def _reading(self, z: Tensor, s: Tensor | None = None) -> tuple[Rollout, Past]:
        """Return h, read from the past once for prior and emission, and the past."""
        s, model, kept = self.s if s is None else s, self.model, self._read
        if kept is not None and kept[0].z is z and kept[0].s is s:
            return kept
        if model.autoregressive and s is None:
            raise RuntimeError("z can be scored only once s has a value")
        whole = None if s is None else self._fill(s, z)
        past, rollout = self._past(z, whole), None
        if whole is not None:
            rollout = model.take(z, whole if self.past is None else self.past)
        if rollout is None and model.scheduled:
            rollout = model.scheduled_rollout(past, z.shape[:-2], self.length, self.w, z=z)
        h, raw = (model.read(past), None) if rollout is None else (rollout.h, rollout.raw)
        self._read = Rollout(h, z, s, raw), past
        return self._read

    def _fill(self, s: Tensor, z: Tensor) -> Tensor:
        """Return s, with the model's draws where it was not seen and is read; padding is left."""
        if self.observed is None or not self._estimates:
            return s
        known = self.observed if self.mask is None else self.observed | ~self.mask[..., None]
        return self.model.fill(s, known, z, self.w)

    def _complete(self, s: Tensor) -> Tensor:
        """Return s (..., T, D), with the model's draws where it was not seen, padding included."""
        seen = torch.ones_like(s, dtype=torch.bool) if self.observed is None else self.observed
        seen = seen if self.mask is None else seen & self.mask[..., None]
        z = s.new_zeros(*s.shape[:-1], 0) if self.z is None else self.z
        return self.model.fill(s, seen, z, self.w)

    def _past(self, z: Tensor, s: Tensor | None) -> Past:
        """Return the past of every frame: of s, or of the estimate of it."""
        model, estimate = self.model, self.past
        if not model.autoregressive:
            return model.teacher_forced_past(None, z, self.w, self.mask)
        if estimate is None:
            return model.teacher_forced_past(s, z, self.w, self.mask)
        base, features = estimate if self.from_past else s, model.features(estimate, self.mask)
        return model.teacher_forced_past(base, z, self.w, self.mask, features=features)

    def _draw_z(self, batch: torch.Size) -> Tensor:
        model = self.model
        self._drawn = model.rollout(batch, self.length, self.w, frames=model.autoregressive)
        z: Tensor = self._drawn.z
        return z

    def _draw_s(self, batch: torch.Size) -> Tensor:
        drawn, z = self._drawn, self.z
        if drawn is not None and drawn.s is not None and drawn.z is z and z.shape[:-2] == batch:
            return drawn.s
        if z is None:  # a model without latents
            z = next(self.model.parameters()).new_zeros(self.length, 0)
        z = z.expand(*batch, *z.shape[-2:])
        if self.model.autoregressive:
            s: Tensor = self.model.rollout(batch, self.length, self.w, z=z).s
            return s
        past = self._past(z, None)
        return self.model.likelihood(self.model.outputs(self.model.read(past), z, past)).sample()
