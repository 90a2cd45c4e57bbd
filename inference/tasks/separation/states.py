r"""What is inferred of one source of `SourceSum`, for a batch of recordings, and how it improves.

=================  ==========================================  ==================================
state              q or estimate                               improved by
=================  ==========================================  ==================================
`FreeLatents`      N(mean, scale^2) of each number of z and w  gradients of the bound
`Activations`      h (and W, where it is the recording's own)  closed updates, that lower nothing
`Spectrum`         the spectrum of a `Hum`                     closed updates, that lower nothing
=================  ==========================================  ==================================

Latents are free: they start where the part's own encoder puts them, given an estimate of the
source's power, and leave it. The papers change the encoder's weights instead, for one recording.

References: those of `ppl_models.audio.source_sum`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from pyro import poutine
from torch import Tensor, nn

from guides.audio import latents_of, with_power
from ppl_models.audio import NMF, Hum, of_bins, update_gains
from ppl_models.distributions import AutoregressiveNormal, normal_kl
from ppl_models.sequences import clean

Latents = dict[str, Tensor]
LONGEST = 1024
"""Frames for which noise is drawn at a time, however long the sequence."""
GAINS = 1e-8, 1e8
"""Least and largest gain of a source: one that is not heard would fade until its variance is 0."""


class Noise:
    """Standard normal numbers, each row's a function of its own seed, not of its batch.

    Parameters
    ----------
    seeds : sequence of int
        One a row.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.rows = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, like: Tensor) -> Tensor:
        """Return numbers (B, T, L), or (B, W), like a tensor."""
        return torch.stack([self._row(like.shape[1:], row) for row in self.rows]).to(like)

    def seed(self) -> int:
        """Return a seed of what is drawn for all rows at once."""
        return int(torch.randint(2**62, (), generator=self.rows[0]))

    def _row(self, shape: torch.Size, row: torch.Generator) -> Tensor:
        if len(shape) < 2:
            return torch.randn(shape, generator=row)
        blocks = -(-shape[0] // LONGEST)
        drawn = [torch.randn(LONGEST, *shape[1:], generator=row) for _ in range(blocks)]
        return torch.cat(drawn)[: shape[0]]


class Reading(NamedTuple):
    """One draw of a state: what the model and the bound make of it."""

    latents: Latents
    variance: Tensor
    """(B, T, F)"""
    rate: Tensor
    """(B): nats of KL(q || prior), given the draw."""


class State(Protocol):
    """What an ascent needs of a source."""

    part: nn.Module
    exact: bool
    """Whether the rate is that of a distribution q, and not minus the log prior of an estimate."""

    def parameters(self) -> list[Tensor]:
        """Return what gradients improve."""

    def read(self, noise: Noise | None, past: Tensor) -> Reading:
        """Draw (without noise, the mean), networks reading past powers (B, T, F)."""

    def improve(self, power: Tensor, rest: Tensor, reading: Reading) -> Reading:
        """Take closed updates, given powers of the sum and variance beside (B, T, F)."""


class FreeLatents:
    """q of the latents of a dynamical VAE: independent Normals, whose moments are free.

    Parameters
    ----------
    part, guide : nn.Module
        A model of complex bins, and its guide.
    start : Tensor
        (B, T, F), the estimate of power that the guide reads.
    mask : Tensor of bool
        (B, T), frames that exist.
    scale : float
        Standard deviation of every number of q, at first.
    gain : bool
        Whether variances are g v, with a gain g of each recording that closed updates improve.
    """

    exact = True

    def __init__(
        self,
        part: nn.Module,
        guide: Any,
        start: Tensor,
        mask: Tensor,
        *,
        scale: float = 0.05,
        gain: bool = False,
    ) -> None:
        self.part, self.model, self.mask = part, of_bins(part), mask
        self.gain = start.new_ones(len(start), 1, 1) if gain else None
        self.guide, self.scale = guide, scale
        self.mean, self.log_scale = Latents(), Latents()
        self.encode(start)

    def encode(self, power: Tensor, *, scales: bool = False) -> None:
        """Put q where the guide does, given powers (B, T, F); ``scales``: its deviations too."""
        with torch.no_grad():
            found = latents_of(self.guide, with_power(power), self.mask, noise=0.0)
            moments = spread_of(self.guide, with_power(power), self.mask) if scales else {}
        for name, mean in found.items():
            scale = moments.get(name, torch.full_like(mean, self.scale))
            self.mean[name] = mean.detach().clone().requires_grad_()
            self.log_scale[name] = scale.log().detach().clone().requires_grad_()

    def parameters(self) -> list[Tensor]:
        """Return means and log scales."""
        return [*self.mean.values(), *self.log_scale.values()]

    def draw(self, noise: Noise | None) -> Latents:
        """Draw latents, differentiably; without noise, their means."""
        if noise is None:
            return dict(self.mean)
        return {
            name: torch.addcmul(mean, self.log_scale[name].exp(), noise(mean))
            for name, mean in self.mean.items()
        }

    def read(self, noise: Noise | None, past: Tensor) -> Reading:
        """Draw; networks of an autoregressive model read past powers (B, T, F)."""
        latents = self.draw(noise)
        s = with_power(past) if self.model.autoregressive else None
        v, rate = frames_and_rate(self.model, latents, self._moments(), s, self.mask)
        v = v.expand(past.shape)
        return Reading(latents, v if self.gain is None else self.gain * v, rate)

    def rate_of(self, latents: Latents, s: Tensor) -> Tensor:
        """Return the rate (B) given drawn latents, and bins s (B, T, 2 F) that networks read."""
        return frames_and_rate(self.model, latents, self._moments(), s, self.mask)[1]

    def improve(self, power: Tensor, rest: Tensor, reading: Reading) -> Reading:
        """Update the gain by the rule of an activation of NMF: no lower at this draw."""
        if self.gain is None:
            return reading
        v = clean(reading.variance.detach(), self.mask)
        flat = (x.expand_as(v).flatten(1) for x in (v, rest))  # all of a recording as one frame
        ones = v.new_ones(len(v))
        ratio = update_gains(power.flatten(1), ones, *flat).clamp(0.1, 10.0)[:, None, None]
        before, self.gain = self.gain, (self.gain * ratio).clamp(*GAINS)
        return reading._replace(variance=self.gain / before * reading.variance)

    def _moments(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {n: (mean, self.log_scale[n].exp()) for n, mean in self.mean.items()}


def spread_of(guide: Any, s: Tensor, mask: Tensor | None) -> Latents:
    """Return the deviations of a guide's Normal sites, along the path of its means."""
    with poutine.trace() as seen:
        guide.path(s, mask, 0.0)
    found, nodes = Latents(), dict[str, Any](seen.trace.nodes)
    for name, site in nodes.items():
        if site["type"] == "sample" and isinstance(site["fn"], AutoregressiveNormal):
            found[name] = site["fn"].moments(site["value"])[1]
    return found


def frames_and_rate(
    model: Any,
    latents: Latents,
    moments: dict[str, tuple[Tensor, Tensor]],
    s: Tensor | None,
    mask: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return v (B, T, F) and the rate (B) of independent Normals q, at latents drawn from them.

    KL(q || p) is summed over frames, each given the frames of z (and s) before it, as drawn: an
    unbiased estimate, exact where the prior has no dynamics.
    """
    z, w = latents.get(model.site), latents.get(model.global_site)
    if z is None:
        assert s is not None  # a model without latents reads past frames
        z = s.new_zeros(*s.shape[:-1], 0)
    past = model.teacher_forced_past(s if model.autoregressive else None, z, w, mask)
    h = model.read(past)
    v = model.likelihood.variance(model.outputs(h, z, past))
    rate = z.new_zeros(z.shape[:-2])
    if model.latent_dim:
        frames = normal_kl(moments[model.site], model.latent(h, past))[..., None]
        rate = rate + clean(frames, mask).sum((-2, -1))
    if w is not None:
        standard = torch.zeros_like(w), torch.ones_like(w)
        rate = rate + normal_kl(moments[model.global_site], standard)
    return v, rate


class Activations:
    """Activations h of an NMF, as point estimates; W too, where it is the recording's own.

    Parameters
    ----------
    part : NMF
        Changed in place where it learns.
    start : Tensor
        (B, T, F), powers that h starts from.
    mask : Tensor of bool
        (B, T).
    learn : bool
        Whether W is improved as well.
    steps : int
        Updates an iteration.
    """

    exact = False

    def __init__(
        self, part: NMF, start: Tensor, mask: Tensor, *, learn: bool = False, steps: int = 2
    ) -> None:
        self.part = copy.deepcopy(part) if learn else part
        self.mask, self.learn, self.steps = mask, learn, steps
        self.h = self.part.activations(start, mask, iterations=0 if learn else 10)

    def parameters(self) -> list[Tensor]:
        """Return nothing."""
        return []

    @torch.no_grad()
    def read(self, noise: Noise | None, past: Tensor) -> Reading:
        """Return the estimate; its rate is minus the log prior density, or 0 where W is learned."""
        latents = {"h": self.h}
        rate = self.h.new_zeros(len(self.h)) if self.learn else -self.log_prior()
        return Reading(latents, self.part.variances(latents), rate)

    def log_prior(self) -> Tensor:
        """Return log p(h), (B)."""
        prior = self.part.activation_prior(self.h.shape[-2], self.mask).log_prob(self.h)
        return prior + self.part.log_factor(self.h, self.mask)

    @torch.no_grad()
    def improve(self, power: Tensor, rest: Tensor, reading: Reading) -> Reading:
        """Update h, then W, a few times: sum log N_c(o; 0, v + rest) + log p(h) does not fall."""
        for _ in range(self.steps):
            self.h = self.part.update_activations(power, self.h, self.mask, rest)
            if self.learn:
                self.part.update_weights(power, self.h, self.mask, rest)
        return self.read(None, power)


class Spectrum:
    """The spectrum of a hum, a parameter of the recording."""

    exact = True

    def __init__(self, part: Hum, start: Tensor, mask: Tensor, steps: int = 2) -> None:
        self.part, self.mask, self.steps = copy.deepcopy(part), mask, steps
        self.shape = start.shape

    def parameters(self) -> list[Tensor]:
        """Return nothing."""
        return []

    @torch.no_grad()
    def read(self, noise: Noise | None, past: Tensor) -> Reading:
        """Return the spectrum; it costs nothing."""
        v = self.part.variances({}).expand(self.shape)
        return Reading({}, v, v.new_zeros(len(v)))

    @torch.no_grad()
    def improve(self, power: Tensor, rest: Tensor, reading: Reading) -> Reading:
        """Update the spectrum a few times: sum log N_c(o; 0, v + rest) does not fall."""
        for _ in range(self.steps):
            self.part.update(power, self.mask, rest)
        return self.read(None, power)
