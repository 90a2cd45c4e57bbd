"""Boxes of objects in every frame, given their detections: a smoother over all objects at once.

The state of each coordinate is position, velocity, and the error of the detector that lasts
(`errors`); reported are the position's mean and variance.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from inference.tasks.tracking.kalman import BoolArray, FloatArray, IntArray
from inference.tasks.tracking.whole.errors import ErrorLaw
from inference.tasks.tracking.whole.law import MotionLaw
from inference.tasks.tracking.whole.video import Video, unit_of

UNKNOWN = 50.0
"""Standard deviation of a first position, in heights."""
SEEN = np.array([1.0, 0.0, 1.0])
"""What a detection is of the state: position and error."""


class States(NamedTuple):
    """Of each object and coordinate: mean (N, 4, 3) and covariance (N, 4, 3, 3)."""

    mean: FloatArray
    covariance: FloatArray


def smooth(
    video: Video, chains: list[IntArray], motion: MotionLaw, errors: ErrorLaw
) -> tuple[FloatArray, FloatArray]:
    """Return means and variances (N, T, 4) of N objects in all frames.

    Before its first detection and after its last an object moves on as it did. ``motion`` says how
    fast objects are at first, and how often and how far boxes err by a lot; ``errors`` the rest.
    """
    count, length = len(chains), video.length
    if not count:
        return np.zeros((0, length, 4)), np.zeros((0, length, 4))
    o, seen = np.zeros((length, count, 4)), np.zeros((length, count), bool)
    for n, chain in enumerate(chains):
        o[video.rows.frame[chain], n], seen[video.rows.frame[chain], n] = video.rows.o[chain], True
    unit = unit_of(np.array([np.median(video.rows.o[chain, 3]) for chain in chains]))
    step, noise = _step(errors, unit, 1 / video.rate)
    first = o[seen.argmax(0), np.arange(count)]
    known, ahead = _forward(o, seen, _begin(first, motion, errors, unit), step, noise, unit, motion, errors)
    mean, variance = np.empty((2, count, length, 4))
    later = known[-1]
    for t in range(length - 1, -1, -1):
        if t < length - 1:
            later = _back(known[t], ahead[t], later, step)
        mean[:, t], variance[:, t] = later.mean[..., 0], later.covariance[..., 0, 0]
    bias = np.asarray(errors.bias) * np.asarray(errors.lasting) * unit
    return mean, variance + bias[:, None] ** 2


def _step(errors: ErrorLaw, unit: FloatArray, dt: float) -> tuple[FloatArray, FloatArray]:
    """Return the matrix (3, 3) of a step, and the covariance of its noise (N, 4, 3, 3)."""
    rho = np.exp(-dt / errors.seconds)
    step = np.array([[1.0, dt, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, rho]])
    change = (np.asarray(errors.change) * unit) ** 2
    noise = np.zeros((*unit.shape, 3, 3))
    noise[..., 0, 0], noise[..., 1, 1] = change * dt**3 / 3, change * dt
    noise[..., 0, 1] = noise[..., 1, 0] = change * dt**2 / 2
    noise[..., 2, 2] = (np.asarray(errors.lasting) * unit) ** 2 * (1 - rho**2)
    return step, noise


def _begin(first: FloatArray, motion: MotionLaw, errors: ErrorLaw, unit: FloatArray) -> States:
    mean, covariance = np.zeros((*first.shape, 3)), np.zeros((*first.shape, 3, 3))
    mean[..., 0] = first
    for i, deviation in enumerate((UNKNOWN, motion.speed, errors.lasting)):
        covariance[..., i, i] = (np.asarray(deviation) * unit) ** 2
    return States(mean, covariance)


def _forward(
    o: FloatArray,
    seen: BoolArray,
    now: States,
    step: FloatArray,
    noise: FloatArray,
    unit: FloatArray,
    motion: MotionLaw,
    errors: ErrorLaw,
) -> tuple[list[States], list[States]]:
    """Filter; return what is known at each frame, and what was expected of the next one."""
    known, ahead = list[States](), list[States]()
    for t in range(len(o)):
        if t:
            now = States(now.mean @ step.T, step @ now.covariance @ step.T + noise)
            ahead.append(now)
        who = np.flatnonzero(seen[t])
        if len(who):
            new = _learn(States(now.mean[who], now.covariance[who]), o[t, who], unit[who], motion, errors)
            now = States(now.mean.copy(), now.covariance.copy())
            now.mean[who], now.covariance[who] = new
        known.append(now)
    return known, ahead


def _learn(now: States, o: FloatArray, unit: FloatArray, motion: MotionLaw, errors: ErrorLaw) -> States:
    """Condition states on detections (A, 4), whose noise is as large as their error says."""
    along = now.covariance @ SEEN
    expected, error = along @ SEEN, o - now.mean @ SEEN
    white = (np.asarray(errors.white) * unit) ** 2
    variance = motion.doubted(error, expected, white, unit)
    gain = along / (expected + variance)[..., None]
    return States(
        now.mean + gain * error[..., None],
        now.covariance - gain[..., None] * along[..., None, :],
    )


def _back(known: States, ahead: States, later: States, step: FloatArray) -> States:
    """Take one step back of the Rauch-Tung-Striebel smoother."""
    cross = step @ known.covariance  # of the next state with now's
    gain = np.linalg.solve(ahead.covariance, cross).swapaxes(-1, -2)
    mean = known.mean + (gain @ (later.mean - ahead.mean)[..., None])[..., 0]
    change = gain @ (later.covariance - ahead.covariance) @ gain.swapaxes(-1, -2)
    return States(mean, known.covariance + change)
