"""Whether the futures that a model draws are as probable as they should be.

>>> drawn, came = (locate(x, clips.digits)[..., 0, :] for x in (samples, clips.frames))
>>> later = clips.bounces[:, past:].any(-1)  # of one digit
>>> bounced = np.logical_or.accumulate(later, 1)
>>> found = future_calibration(drawn[:, :, past:], came[:, past:], bounced)
>>> found.after.coverage  # of the regions that should hold 50, 80 and 95 % of what comes
(0.47, 0.78, 0.94)

Best of N asks whether the truth is among many futures; this asks how often it is where the futures
say it is (coverage), and how near and how sharp they are (CRPS, energy score: both proper, so that
nothing scores better on average than draws from the true law). Draws of the true law, from
`ppl_models.data.digit_futures`, are the yardstick.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from inference.metrics.ensembles import (
    LEVELS,
    Floats,
    checked,
    crps,
    energy_score,
    region_coverage,
)
from inference.metrics.frames import as_tensor
from ppl_models.errors import InputError


class Calibration(NamedTuple):
    """How S futures of some digits compare with what came; NaN where there are none.

    Attributes
    ----------
    coverage, coverage_error : tuple of float
        How often a region holds the truth, of each level, and the standard error.
    crps, crps_error : float
        Mean over both axes, pixels.
    energy, energy_error : float
        Energy score of places in the plane, pixels.
    frames, clips : int
        Over how many frames of how many clips these are; errors take clips as independent, and
        frames of one clip not.
    """

    coverage: tuple[float, ...]
    coverage_error: tuple[float, ...]
    crps: float
    crps_error: float
    energy: float
    energy_error: float
    frames: int
    clips: int


class FutureCalibration(NamedTuple):
    """The calibration of futures, before the digit meets a wall and from then on.

    Attributes
    ----------
    levels : tuple of float
        Of the regions.
    before, after : Calibration
        Frames up to the first bounce since the last given frame, and all from it on.
    exact_before, exact_after : Calibration or None
        The same of draws of the true law, where such were given.
    """

    levels: tuple[float, ...]
    before: Calibration
    after: Calibration
    exact_before: Calibration | None
    exact_after: Calibration | None


def future_calibration(
    samples: Floats,
    truth: Floats,
    bounced: Floats,
    *,
    exact: tuple[Floats, Floats] | None = None,
    levels: tuple[float, ...] = LEVELS,
    bandwidth: float = 1.0,
    resolution: float = 0.0,
    seed: int = 0,
) -> FutureCalibration:
    """Compare futures of a digit with what came, before it meets a wall and from then on.

    Parameters
    ----------
    samples, truth
        Places (S, B, K, 2) and (B, K, 2) of one digit a clip in the K frames to come, pixels. Two
        digits count as two clips: ``places.movedim(-2, -3).flatten(-4, -3)`` of (..., B, K, 2, 2).
        Read both by `locate`, so that both have its errors.
    bounced
        (B, K): whether the digit has met a wall since the last given frame.
    exact
        To compare with: draws of the true law (S', B, K, 2), and the exact places (B, K, 2), which
        are not read off frames, as these draws are not.
    levels, bandwidth
        Of `region_coverage`.
    resolution
        Before a bounce the true law has no spread, and a model that is right to a tenth of a pixel
        would still miss. Coverage is of places with Gaussian noise of so many pixels, in samples
        and in truth: what is much smaller does not count. CRPS and energy score are without it.
    seed
        Of that noise.

    Raises
    ------
    InputError
        Fewer than two samples, other shapes, numbers that are not finite, or a negative resolution.
    """
    if not 0 <= resolution < math.inf:
        cure = "give pixels, 0 for places as they are"
        raise InputError("resolution", f"{resolution}", "0 or more", cure)
    found: list[Calibration] = []
    for pair in [(samples, truth)] if exact is None else [(samples, truth), exact]:
        draws, came = checked(*pair)
        met = _met(bounced, came)
        generator = torch.Generator().manual_seed(seed)
        told, seen = (_noisy(x, resolution, generator) for x in (draws, came))
        held = region_coverage(told, seen, levels, bandwidth=bandwidth)
        scores = [*held, crps(draws, came).mean(-1), energy_score(draws, came)]
        found += [_calibration(scores, which) for which in (~met, met)]
    yardstick = (found[2], found[3]) if exact is not None else (None, None)
    return FutureCalibration(tuple(levels), found[0], found[1], *yardstick)


def _met(bounced: Floats, came: Tensor) -> Tensor:
    met = as_tensor(bounced)
    if came.ndim != 3 or met.shape != came.shape[:2] or met.dtype is not torch.bool:
        seen = f"bounced {tuple(met.shape)} of {met.dtype}, truth {tuple(came.shape)}"
        cure = "take one digit: bounces[:, past:, 0], places[:, past:, 0]"
        raise InputError("bounced", seen, "bool (B, K) and (B, K, 2)", cure)
    return met


def _noisy(places: Tensor, resolution: float, generator: torch.Generator) -> Tensor:
    noise = torch.randn(places.shape, generator=generator, dtype=places.dtype)
    return places + resolution * noise.to(places.device)


def _calibration(scores: list[Tensor], which: Tensor) -> Calibration:
    """Average scores (B, K) over the frames that count; the last two are CRPS and energy."""
    means = [_mean(score, which) for score in scores]
    coverage, errors = zip(*means[:-2], strict=True)
    frames, clips = int(which.sum()), int(which.any(1).sum())
    return Calibration(coverage, errors, *means[-2], *means[-1], frames, clips)


def _mean(score: Tensor, which: Tensor) -> tuple[float, float]:
    """Return the mean over some frames (B, K), and its error: clips differ, not frames of one."""
    kept = torch.where(which, score, 0)
    clips, frames = int(which.any(1).sum()), int(which.sum())
    if not frames:
        return math.nan, math.nan
    mean = float(kept.sum() / frames)
    if clips < 2:
        return mean, math.nan
    apart = torch.where(which, score - mean, 0).sum(1).square().sum()
    return mean, float(apart.sqrt() / frames) * math.sqrt(clips / (clips - 1))
