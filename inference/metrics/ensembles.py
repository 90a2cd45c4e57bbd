"""How well S draws say what is not known yet: CRPS, energy score, coverage of their regions.

The scores are proper (nothing scores better on average than draws from the true law) and fair
(their means do not depend on S). Coverage is exact for truth that is drawn as the samples are.

Sources: T. Gneiting and A. E. Raftery, "Strictly proper scoring rules, prediction, and estimation",
JASA 2007, sections 4.2 (CRPS), 4.3 (energy score); C. A. T. Ferro, "Fair scores for ensemble
forecasts", QJRMS 2014 (the unbiased forms); R. J. Hyndman, "Computing and graphing highest density
regions", The American Statistician 1996; J. Lei, J. Robins and L. Wasserman, "Distribution-free
prediction sets", JASA 2013 (density of each point from all others).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.metrics.frames import as_tensor
from ppl_models.errors import InputError
from ppl_models.inputs import check_positive

LEVELS = (0.5, 0.8, 0.95)
_PAIRS = 2**21  # of points, at a time

Floats = Tensor | NDArray[Any]


def crps(samples: Floats, truth: Floats) -> Tensor:
    """Return the continuous ranked probability score (...) of samples (S, ...), better if less.

    The fair form, mean |x_i - y| - sum_ij |x_i - x_j| / (2 S (S - 1)): its mean is the score of
    the law that the samples are from, whatever S. It may be below 0.

    Raises
    ------
    InputError
        Fewer than two samples, other shapes, or numbers that are not finite.
    """
    draws, came = checked(samples, truth)
    count = len(draws)
    rank = 2 * torch.arange(1, count + 1, device=draws.device).double() - count - 1
    spread = (draws.sort(0).values * rank.view(-1, *[1] * came.ndim)).sum(0)
    return (draws - came).abs().mean(0) - spread / (count * (count - 1))


def energy_score(samples: Floats, truth: Floats) -> Tensor:
    """Return the energy score (...) of samples (S, ..., D) of points (..., D): CRPS of vectors.

    With the distance in the place of the modulus; the same fair form, and the same errors.
    """
    draws, came = checked(samples, truth)
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
    draws, came = checked(samples, truth)
    check_positive("bandwidth", bandwidth)
    if not levels or not all(0 < level < 1 for level in levels):
        expected = "shares above 0 and below 1"
        raise InputError("levels", f"{levels}", expected, "give (0.5, 0.8, 0.95)")
    points, target = draws.flatten(1, -2).transpose(0, 1), came.flatten(0, -2)
    above, ties = zip(*(_ranks(x, y, bandwidth) for x, y in _some(points, target)), strict=True)
    places = torch.tensor(levels, dtype=torch.float64)[:, None] * (len(draws) + 1) - torch.cat(
        above
    )
    held = (places / (torch.cat(ties) + 1)).clamp(0, 1)
    return held.reshape(len(levels), *came.shape[:-1])


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


def checked(samples: Floats, truth: Floats) -> tuple[Tensor, Tensor]:
    """Return both in double precision."""
    draws, came = (as_tensor(x) for x in (samples, truth))
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
