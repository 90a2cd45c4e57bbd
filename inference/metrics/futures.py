"""Whether the futures that a model draws are as probable as they should be.

>>> told, came = (locate(x, clips.digits)[..., 0, :] for x in (samples, clips.frames))
>>> later = clips.bounces[:, past:].any(-1)  # of one digit
>>> bounced = np.logical_or.accumulate(later, 1)
>>> found = future_calibration(told[:, :, past:], came[:, past:], bounced)
>>> found.after.coverage  # of the regions that should hold 50, 80 and 95 % of what comes
(0.47, 0.78, 0.94)

Best of N asks whether the truth is among many futures; this asks how often it is where the futures
say it is (coverage), and how near and how sharp they are (CRPS, energy score: both proper, so that
nothing scores better on average than draws from the true law). Draws of the true law, from
`ppl_models.data.digit_futures`, are the yardstick.

Sources: T. Gneiting and A. E. Raftery, "Strictly proper scoring rules, prediction, and estimation",
JASA 2007, sections 4.2 (CRPS), 4.3 (energy score); C. A. T. Ferro, "Fair scores for ensemble
forecasts", QJRMS 2014 (the unbiased forms); R. J. Hyndman, "Computing and graphing highest density
regions", The American Statistician 1996; J. Lei, J. Robins and L. Wasserman, "Distribution-free
prediction sets", JASA 2013 (density of each point from all others).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppl_models.errors import InputError
from ppl_models.inputs import check_positive

LEVELS = (0.5, 0.8, 0.95)
_PAIRS = 2**21  # of points, at a time

Floats = Tensor | NDArray[Any]


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


def crps(samples: Floats, truth: Floats) -> Tensor:
    """Return the continuous ranked probability score (...) of samples (S, ...), better if less.

    The fair form, mean |x_i - y| - sum_ij |x_i - x_j| / (2 S (S - 1)): its mean is the score of
    the law that the samples are from, whatever S. It may be below 0.

    Raises
    ------
    InputError
        Fewer than two samples, other shapes, or numbers that are not finite.
    """
    draws, came = _checked(samples, truth)
    count = len(draws)
    rank = 2 * torch.arange(1, count + 1, device=draws.device).double() - count - 1
    spread = (draws.sort(0).values * rank.view(-1, *[1] * came.ndim)).sum(0)
    return (draws - came).abs().mean(0) - spread / (count * (count - 1))


def energy_score(samples: Floats, truth: Floats) -> Tensor:
    """Return the energy score (...) of samples (S, ..., D) of points (..., D): CRPS of vectors.

    With the distance in the place of the modulus; the same fair form, and the same errors.
    """
    draws, came = _checked(samples, truth)
    points, target = draws.flatten(1, -2).transpose(0, 1), came.flatten(0, -2)
    count = len(draws)
    scores = [
        (x - y[:, None]).norm(dim=-1).mean(1)
        - _distances(x).sum((1, 2)) / (2 * count * (count - 1))
        for x, y in _some(points, target)
    ]
    return torch.cat(scores).reshape(came.shape[:-1])


def region_coverage(
    samples: Floats,
    truth: Floats,
    levels: tuple[float, ...] = LEVELS,
    *,
    bandwidth: float = 1.0,
) -> Tensor:
    """Return whether regions of highest density of samples hold the truth.

    The truth joins the samples, and each of these S + 1 points gets the density at its place of
    all others, smoothed by a Gaussian. The truth is in the region of a level if its density is
    among that share of the S + 1, from the largest. Where the truth is drawn from the law of the
    samples, that is so with the level's probability exactly, whatever the law, S and bandwidth.

    Parameters
    ----------
    samples, truth
        (S, ..., 2) and (..., 2).
    levels
        Each above 0 and below 1.
    bandwidth
        Standard deviation of the smoothing, in pixels. It decides the shape of the regions only.

    Returns
    -------
    Tensor
        (levels, ...): 1 for held, 0 for not; between, where the edge of a region goes through the
        truth, what a coin would decide: ties, and levels that are no multiple of 1 / (S + 1).

    Raises
    ------
    InputError
        As `crps`, or levels that are none.
    """
    draws, came = _checked(samples, truth)
    check_positive("bandwidth", bandwidth)
    if not levels or not all(0 < level < 1 for level in levels):
        expected = "shares above 0 and below 1"
        raise InputError("levels", f"{levels}", expected, "give (0.5, 0.8, 0.95)")
    points, target = draws.flatten(1, -2).transpose(0, 1), came.flatten(0, -2)
    above, ties = zip(*(_ranks(x, y, bandwidth) for x, y in _some(points, target)), strict=True)
    places = torch.tensor(levels).double()[:, None] * (len(draws) + 1) - torch.cat(above)
    held = (places / (torch.cat(ties) + 1)).clamp(0, 1)
    return held.reshape(len(levels), *came.shape[:-1])


def future_calibration(
    samples: Floats,
    truth: Floats,
    bounced: Floats,
    *,
    exact: Floats | None = None,
    levels: tuple[float, ...] = LEVELS,
    bandwidth: float = 1.0,
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
        Draws (S', B, K, 2) of the true law, to compare with.
    levels, bandwidth
        Of `region_coverage`.

    Raises
    ------
    InputError
        Fewer than two samples, other shapes, or numbers that are not finite.
    """
    met = torch.as_tensor(bounced)
    sets = [samples] if exact is None else [samples, exact]
    found: list[Calibration] = []
    for one in sets:
        draws, came = _checked(one, truth)
        if came.ndim != 3 or met.shape != came.shape[:2] or met.dtype is not torch.bool:
            seen = f"bounced {tuple(met.shape)} of {met.dtype}, truth {tuple(came.shape)}"
            cure = "take one digit: bounces[:, past:, 0], places[:, past:, 0]"
            raise InputError("bounced", seen, "bool (B, K) and (B, K, 2)", cure)
        held = region_coverage(draws, came, levels, bandwidth=bandwidth)
        scores = [*held, crps(draws, came).mean(-1), energy_score(draws, came)]
        found += [_calibration(scores, which) for which in (~met, met)]
    absent = [None] * (4 - len(found))
    return FutureCalibration(tuple(levels), *found, *absent)


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


def _ranks(points: Tensor, target: Tensor, bandwidth: float) -> tuple[Tensor, Tensor]:
    """Count samples (n, S, D) of more density than the target (n, D), and those of as much.

    Points as dense to nine digits are equal: sums in another order differ in the sixteenth.
    """
    every = torch.cat([points, target[:, None]], 1) / bandwidth
    near = (-(_distances(every).square()) / 2).exp()
    density = near.sum(-1) - 1
    last = density[:, -1:]
    slack = 1e-9 * (1 + last)
    above = (density > last + slack).sum(1)
    ties = ((density - last).abs() <= slack).sum(1) - 1
    return above.double(), ties.double()


def _distances(points: Tensor) -> Tensor:
    """Return the distances (n, P, P) of points (n, P, D), 0 from a point to itself."""
    return torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")


def _some(points: Tensor, target: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Cut points (N, S, D) and targets (N, D) to pieces whose pairs fit the memory."""
    step = max(1, _PAIRS // (points.shape[1] + 1) ** 2)
    return list(zip(points.split(step), target.split(step), strict=True))


def _checked(samples: Floats, truth: Floats) -> tuple[Tensor, Tensor]:
    """Return both in double precision."""
    draws, came = (torch.tensor(x) if isinstance(x, np.ndarray) else x for x in (samples, truth))
    if draws.ndim != came.ndim + 1 or draws.shape[1:] != came.shape or not draws.numel():
        found = f"shapes {tuple(draws.shape)} and {tuple(came.shape)}"
        cure = "cut both to the same clips and frames"
        raise InputError("samples", found, "(S, ...) and (...), the same but for S", cure)
    if len(draws) < 2:
        cure = "draw more futures: 100 are customary"
        raise InputError("samples", "one sample, which has no spread", "2 or more", cure)
    numpy = isinstance(truth, np.ndarray)
    there = "np.isfinite(truth).all((1, 2))" if numpy else "truth.isfinite().flatten(1).all(1)"
    absent = f"leave out digits that are absent, of both: samples[:, {there}]"
    diverged = "look for what made them NaN, a model that diverged"
    for name, numbers, cure in (("truth", came, absent), ("samples", draws, diverged)):
        bad = int((~numbers.isfinite()).sum())
        if bad:
            found = f"{bad} of {numbers.numel()} numbers not finite"
            raise InputError(name, found, "finite places", cure)
    return draws.detach().double(), came.detach().double()
