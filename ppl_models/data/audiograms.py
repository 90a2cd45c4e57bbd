r"""Simulated audiograms of both ears, and the age: each person is a blend of a few archetypes.

Archetypes are drawn once, from a Gaussian in which hearing is worse at high frequencies and at high
age, neighbouring frequencies and the two ears go together, and an ear has a level of its own::

    w ~ Dirichlet(1, ..., 1)       how much of each archetype: K weights that sum to 1
    y = w A                        the audiogram without noise: 14 thresholds in dB HL, and years
    x ~ Normal(y, 5)               as measured: 5 dB, and 5 years

`ppl_models.acquisition.ArchetypalAudiogram` is this as a model, with its exact posterior.

References
----------
Høegh, "On Learning Useful Variational Autoencoder Representations", DTU 2022, appendix A.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppl_models.data.hearing import NAMES, UNITS
from ppl_models.errors import InputError
from ppl_models.inputs import check_count, check_positive

NOISE = 5.0
"""Standard deviation of a measurement, in dB (and in years)."""
NUM_ARCHETYPES = 5

_SLOPE = (15.0, 20.0, 27.0, 35.0, 42.0, 50.0, 55.0)  # mean thresholds in dB HL
_AGE, _AGE_SPREAD, _AGE_CORRELATION = 55.0, 15.0, 0.5

FloatArray = NDArray[np.float64]


class Audiograms(NamedTuple):
    """N simulated people, in the columns of `ppl_models.data.hearing.NAMES`: D = 15."""

    x: Tensor
    """As measured (N, D)."""
    y: Tensor
    """Without noise (N, D)."""
    w: Tensor
    """How much of each archetype is in each person (N, K)."""
    archetypes: Tensor
    """The K archetypes (K, D)."""
    names: tuple[str, ...] = NAMES
    units: tuple[str, ...] = UNITS


def audiograms(
    size: int = 4096,
    *,
    seed: int = 0,
    arch_scale: float = 2.0,
    archetypes: Tensor | None = None,
    corruption: float = 0.0,
) -> Audiograms:
    """Simulate people.

    Parameters
    ----------
    size
        N.
    seed
        Of all that is drawn. The archetypes depend on it alone, not on ``size``.
    arch_scale
        How far archetypes are from their mean: 1 is the Gaussian they are drawn from, where blends
        differ by less than the noise; 2 and 5 make signals of 6-16 and 13-41 dB.
    archetypes
        (K, 15), from an earlier call (other people of the same population), instead of new ones.
    corruption
        Another population: every number of the archetypes is moved by this many times the standard
        deviation of all numbers of their people together. 0.05 is small, 0.5 is large.

    Raises
    ------
    InputError
        A size below one, archetypes of another shape, a negative corruption, a scale not positive.
    """
    check_count("size", size)
    check_positive("arch_scale", arch_scale)
    if not 0 <= corruption < math.inf:
        cure = "give 0 for the same population, 0.05 for one nearby"
        raise InputError("corruption", str(corruption), "a number of at least 0", cure)
    if archetypes is None:
        blends = _archetypes(np.random.default_rng([seed, 0]), arch_scale)
    else:
        blends = _given(archetypes)
    if corruption:
        moves = np.random.default_rng([seed, 1]).standard_normal(blends.shape)
        blends = blends + corruption * overall_spread(blends) * moves
    rng = np.random.default_rng([seed, 2])
    w = rng.dirichlet(np.ones(len(blends)), size)
    y = w @ blends
    x = y + NOISE * rng.standard_normal(y.shape)
    made = [torch.tensor(a, dtype=torch.get_default_dtype()) for a in (x, y, w, blends)]
    return Audiograms(made[0], made[1], made[2], made[3])


def overall_spread(archetypes: FloatArray) -> float:
    """Return the standard deviation of all numbers of a table of people, its columns as one.

    This is its expectation: of the noise, of the blends in each column, and between columns.
    """
    count, mean = len(archetypes), archetypes.mean(0)
    within = ((archetypes - mean) ** 2).mean(0) / (count + 1)  # of Dirichlet(1) weights
    return float(np.sqrt(NOISE**2 + within.mean() + mean.var()))


def _archetypes(rng: np.random.Generator, arch_scale: float) -> FloatArray:
    """Draw archetypes (K, 15)."""
    mean = np.array([*_SLOPE, *_SLOPE, _AGE])
    values, axes = np.linalg.eigh(_covariance())
    root = axes * np.sqrt(values.clip(min=1.0))
    return mean + arch_scale * rng.standard_normal((NUM_ARCHETYPES, len(mean))) @ root.T


def _covariance() -> FloatArray:
    """Return the covariance (15, 15) of thresholds and age, before its eigenvalues are limited."""
    apart = np.subtract.outer(np.arange(7), np.arange(7)) / 1.5
    ears, levels = np.array([[1, 0.6], [0.6, 1]]), np.array([[1, 0.5], [0.5, 1]])
    covariance = np.full((15, 15), _AGE_SPREAD**2)
    thresholds = 15.0**2 * np.kron(ears, np.exp(-0.5 * apart**2))
    thresholds += 10.0**2 * np.kron(levels, np.ones((7, 7))) + 5.0**2 * np.eye(14)
    covariance[:14, :14] = thresholds
    with_age = _AGE_CORRELATION * _AGE_SPREAD * np.sqrt(thresholds.diagonal())
    covariance[14, :14] = covariance[:14, 14] = with_age
    return covariance


def _given(archetypes: Tensor) -> FloatArray:
    """Return the archetypes of an earlier call."""
    shape = tuple(getattr(archetypes, "shape", ()))
    if len(shape) != 2 or not shape[0] or shape[1] != len(NAMES):
        found, cure = f"shape {shape}", "audiograms(4096, seed=0).archetypes"
        raise InputError("archetypes", found, f"(K, {len(NAMES)})", cure)
    return np.asarray(archetypes.detach().cpu().double())
