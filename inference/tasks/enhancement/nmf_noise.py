r"""Noise of a recording, learned from the recording alone: smooth spectra, and a hum.

.. math::
    o_{tf} = s_{tf} + n_{tf} + u_{tf} + e_{tf}, \quad
    v_n = \sum_k h_{tk} W_{kf}, \quad v_u = c_f

Speech s is a dynamical VAE with a gain, n an `NMF` whose spectra W are smooth in frequency, and u a
`Hum`, as fine in frequency as can be but constant in time. All of W, h, c and the gain are the
recording's own. Noise that can be as fine in both would learn the speech as well, harmonics and
all: with free spectra (``resolution=1``, no hum) it is the noise of RVAE-VEM.

Reference: X. Bie, S. Leglaive, X. Alameda-Pineda, L. Girin, "Unsupervised speech enhancement using
dynamical variational autoencoders", IEEE/ACM TASLP 2022, arXiv:2106.12271 (free spectra, rank 8).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from inference.randomness import derive, seeded
from inference.tasks.separation import Activations, Ascent, FreeLatents, Posterior, Spectrum, ascend
from ppl_models.audio import NMF, Hum, SourceSum
from ppl_models.likelihoods import QUIET, bin_power

HIGH, LOW = 4.0, 0.1
"""Where noise starts, as a multiple of the estimate of its power: as the louder one, or not."""
CLEAR = 2.0
"""Power of the rest, over that of the noise, from which speech is the louder one."""
FLAT = -20.0
"""Log rate of the prior of activations: next to none."""


class NMFNoise(NamedTuple):
    """How noise is modelled and learned.

    Parameters
    ----------
    num_components : int
        K.
    resolution : int
        Bins over which spectra are smooth; 1 leaves them free.
    hum : bool
        Whether there is a constant spectrum besides.
    scale : float
        Standard deviation of the latents of speech, at first.
    other : float
        Weight of the end that noise of the other start level comes to; 0 leaves it out.
    ascent : Ascent
        From each start.
    """

    num_components: int = 8
    resolution: int = 65
    hum: bool = True
    scale: float = 0.1
    other: float = 0.25
    ascent: Ascent = Ascent(iterations=100, learning_rate=0.2)


PUBLISHED = NMFNoise(8, 1, False, other=0.0, ascent=Ascent(iterations=100, learning_rate=0.05))
"""RVAE-VEM's noise; the paper takes 100 to 300 steps, on the encoder's weights, at 1e-3."""


def infer_speech(
    speech: tuple[Any, Any],
    o: Tensor,
    mask: Tensor,
    noise: NMFNoise,
    *,
    seeds: Sequence[int],
    progress: Callable[[int], None] | None = None,
) -> Posterior:
    """Return the posterior of speech and noises of pieces o (B, T, 2 F) of one recording.

    ``speech`` is a model of complex bins and its guide. What explains the recording first keeps it:
    noise that starts low leaves the speech to explain hiss, noise that starts high takes what is
    soft of the speech, and neither is unlearned. The louder one is to be first (`start_level`); as
    that may be wrong, the posterior is a mixture of both ends.
    """
    first = start_level(bin_power(o), noise_floor(bin_power(o), mask), mask)
    levels = [first, LOW if first == HIGH else HIGH][: 2 if noise.other else 1]
    ends = []
    for i, level in enumerate(levels):
        before = i * noise.ascent.iterations
        seen = None if progress is None else partial(_counted, progress, before)
        ends.append(infer_from(speech, o, mask, noise, level, seeds, seen))
    return mixed(ends, [1 - noise.other, noise.other][: len(ends)])


def mixed(ends: Sequence[Posterior], weights: Sequence[float]) -> Posterior:
    """Return the mean and variance of a mixture of posteriors; weights sum to one.

    As entropy is concave, the mixture's bound is no less than the mean of theirs, which is what is
    returned.
    """

    def average(parts: Sequence[Tensor]) -> Tensor:
        return sum((w * part for w, part in zip(weights, parts, strict=True)), start=0 * parts[0])

    fields = {name: average([getattr(end, name) for end in ends]) for name in Posterior._fields}
    apart = average([bin_power(end.mean - fields["mean"]) for end in ends])
    return Posterior(**fields)._replace(variance=fields["variance"] + apart)


def _counted(progress: Callable[[int], None], before: int, done: int) -> None:
    progress(before + done)


def infer_from(
    speech: tuple[Any, Any],
    o: Tensor,
    mask: Tensor,
    noise: NMFNoise,
    level: float,
    seeds: Sequence[int],
    progress: Callable[[int], None] | None,
) -> Posterior:
    """Climb with noise that starts at a multiple of its floor."""
    power, (model, guide) = bin_power(o), speech
    floor = level * noise_floor(power, mask)
    clean = cleaned(power, floor)
    states: list[Any] = [FreeLatents(model, guide, clean, mask, scale=noise.scale, gain=True)]
    parts: dict[str, Any] = {"speech": model}
    states.append(_spectra(power, floor, mask, noise, derive(seeds[0], "spectra")))
    parts["noise"] = states[-1].part
    if noise.hum:
        states.append(_hum(power, floor, mask))
        parts["hum"] = states[-1].part
    total = SourceSum(parts, noise=1e-9)
    start = torch.stack([clean] * len(states), 1)
    return ascend(total, states, o, start, mask, noise.ascent, seed=seeds, progress=progress)


def noise_floor(power: Tensor, mask: Tensor, quantile: float = 0.3) -> Tensor:
    """Return a first guess of the noise's power (B, T, F): one spectrum, louder and softer.

    The spectrum is a low quantile over time of each bin; its level in a frame, one over bins: low
    ones, where there is no speech. As powers of noise are exponential, a quantile q is
    -log(1 - q) times their mean.
    """
    kept, ratio = power[mask], -math.log1p(-quantile)
    spectrum = kept.quantile(quantile, dim=0) / ratio + 1e-9
    level = (power / spectrum).quantile(quantile, dim=-1, keepdim=True) / ratio
    return level.clamp_min(1e-4) * spectrum


def start_level(power: Tensor, floor: Tensor, mask: Tensor) -> float:
    """Return where noise starts, as a multiple of its floor (B, T, F): `HIGH` or `LOW`.

    The louder one, speech or noise, is to be first.
    """
    noise = floor[mask].sum()
    return LOW if power[mask].sum() > (1 + CLEAR) * noise else HIGH


def cleaned(power: Tensor, floor: Tensor) -> Tensor:
    """Return powers (B, T, F) after a Wiener filter against a noise floor."""
    share = (1 - floor / (power + 1e-9)).clamp_min(0.05)
    return share.square() * power


def _spectra(power: Tensor, floor: Tensor, mask: Tensor, noise: NMFNoise, seed: int) -> Activations:
    """Start K spectra near the floor's, each tilted at random, of random loudness."""
    count, bins = noise.num_components, power.shape[-1]
    with seeded(seed):
        part = NMF(bins, count, resolution=noise.resolution).to(power)
        tilt = torch.nn.functional.interpolate(torch.randn(1, count, 8), bins, mode="linear")[0]
        level = 0.5 + torch.rand(*power.shape[:-1], count)
    spectrum = floor[mask].mean(0).log()
    part.log_weights.data.copy_(spectrum + 0.7 * tilt.to(power))
    part.log_rate.data.fill_(FLAT)
    part.requires_grad_(False)
    state = Activations(part, power, mask, learn=True)
    mean = floor[mask].mean(0).sum() / count
    state.h = mean * level.to(power)
    return state


def _hum(power: Tensor, floor: Tensor, mask: Tensor) -> Spectrum:
    part = Hum(power.shape[-1]).to(power).requires_grad_(False)
    part.log_spectrum.data.copy_((0.3 * floor[mask].mean(0)).clamp_min(1e-3 * QUIET).log())
    return Spectrum(part, power, mask)
