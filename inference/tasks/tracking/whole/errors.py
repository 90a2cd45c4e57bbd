r"""How boxes err for a while, and how paths bend: learned from each video.

A detection of coordinate d of an object of height u is, beside its large errors (`law`),

.. math::
    o_t = s_t + e_t + \epsilon_t, \qquad
    e \sim \mathrm{OU}(\mathrm{sd}\ a_d u,\ \tau), \qquad \epsilon_t \sim N(0, (r_d u)^2),

where s has velocities that change by :math:`q_d u` a second, and the error e of a box is partly the
same in the next frame (Ornstein and Uhlenbeck: an AR(1) at any frame rate). Second differences over
a time h know neither position nor velocity, and their variances, in units of u squared,

.. math::
    \mathrm{var}(o_{t+h} - 2 o_t + o_{t-h}) =
    6 r^2 + a^2 (6 - 8 \rho + 2 \rho^2) + \tfrac{2}{3} q^2 h^3,
    \qquad \rho = e^{-h / \tau},

are linear in the three. They are measured at several h, robustly, and fitted by least squares that
are not negative, the prior's own variances counting as so many measurements more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import nnls

from inference.tasks.tracking.kalman import FloatArray, IntArray
from inference.tasks.tracking.whole.law import MATCHING, Four
from inference.tasks.tracking.whole.video import Video, unit_of

TIMES = (0.04, 0.08, 0.16, 0.32, 0.64, 1.28)
"""Seconds between the detections of a second difference."""
MANY = 50
"""Independent second differences from which on a measurement counts in full."""
LEAST = np.array([1.0, 0.2, 1.0])
"""Shares of the prior's r, a and q below which none falls: what annotators draw follows the boxes
more closely than the stiffest path that explains them."""
NORMAL = 1.4826
"""Standard deviation over the median absolute value, of normal errors."""


@dataclass(frozen=True)
class ErrorLaw:
    """Constants of four coordinates: centre x and y (in heights), log width and log height.

    Attributes
    ----------
    white : tuple of float
        r: standard deviation of errors of one frame.
    lasting : tuple of float
        a: of errors that last.
    seconds : float
        tau: how long they do.
    change : tuple of float
        q: of velocity, in heights a second, after a second.
    bias : tuple of float
        Standard deviation of what detector and annotator always disagree by, as shares of a: boxes
        do not tell it, and it widens every band.
    strength : float
        How many measured variances this law counts for, where it is the prior of `learn_errors`.
    """

    white: Four = (0.02, 0.02, 0.04, 0.035)
    lasting: Four = (0.015, 0.02, 0.05, 0.03)
    seconds: float = 0.4
    change: Four = MATCHING.change
    bias: Four = (1.0, 1.0, 1.4, 1.2)
    strength: float = 0.001


def learn_errors(video: Video, chains: list[IntArray], prior: ErrorLaw) -> ErrorLaw:
    """Return the law of a video's errors, from the detections (rows) of each object."""
    rows, measured, count = [np.zeros((0, 3))], [np.zeros((0, 4))], list[float]()
    for lag in sorted({max(1, round(time * video.rate)) for time in TIMES}):
        bend = _bends(video, chains, lag)
        if len(bend) < 2:
            continue
        rows.append(_shares(lag / video.rate, prior.seconds)[None])
        measured.append((NORMAL * np.median(np.abs(bend), 0, keepdims=True)) ** 2)
        count.append(min(1.0, len(bend) / lag / MANY))
    before = np.array([prior.white, prior.lasting, prior.change]) ** 2
    shares, total = np.concatenate(rows), np.concatenate(measured)
    found = [
        _fit(shares, total[:, d], np.array(count), before[:, d], prior.strength) for d in range(4)
    ]
    white, lasting, change = (tuple(np.sqrt(x).tolist()) for x in np.array(found).T)
    return replace(prior, white=white, lasting=lasting, change=change)


def _shares(time: float, seconds: float) -> FloatArray:
    """Return what each of the three variances (r, a, q) adds to a second difference's."""
    rho = np.exp(-time / seconds)
    return np.array([6.0, 6 - 8 * rho + 2 * rho**2, 2 / 3 * time**3])


def _bends(video: Video, chains: list[IntArray], lag: int) -> FloatArray:
    """Return second differences (M, 4) of detections ``lag`` frames apart, in units."""
    found = [np.zeros((0, 4))]
    for chain in chains:
        frame, o = video.rows.frame[chain], video.rows.o[chain]
        if frame[-1] - frame[0] < 2 * lag:
            continue
        path = np.full((int(frame[-1] - frame[0]) + 1, 4), np.nan)
        path[frame - frame[0]] = o
        bend = path[2 * lag :] - 2 * path[lag:-lag] + path[: -2 * lag]
        unit = unit_of(path[lag : len(path) - lag, 3])
        bend = (bend / unit)[np.isfinite(bend[:, 0])]
        found.append(bend)
    return np.concatenate(found)


def _fit(
    rows: FloatArray, measured: FloatArray, count: FloatArray, before: FloatArray, strength: float
) -> FloatArray:
    """Return the three variances (3): least squares of relative errors, not negative."""
    scale = np.sqrt(count) / measured.clip(min=1e-12)
    weight = np.sqrt(strength)
    left = np.concatenate([rows * scale[:, None], weight * np.diag(1 / before)])
    right = np.concatenate([np.sqrt(count), np.full(3, weight)])
    found: FloatArray = np.maximum(nnls(left, right)[0], LEAST**2 * before)
    return found
