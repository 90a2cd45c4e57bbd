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
from inference.tasks.tracking.whole.video import Video, units_of

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
    unit = units_of(video, chains)
    filters = _Filters(motion, errors, unit, 1 / video.rate)
    known, ahead = filters.forward(o, seen)
    mean, variance = np.empty((2, count, length, 4))
    later = known[-1]
    for t in range(length - 1, -1, -1):
        if t < length - 1:
            later = filters.back(known[t], ahead[t], later)
        mean[:, t], variance[:, t] = later.mean[..., 0], later.covariance[..., 0, 0]
    bias = np.asarray(errors.bias) * np.asarray(errors.lasting) * unit
    return mean, variance + bias[:, None] ** 2


class _Filters:
    """Kalman filters of N objects whose units are (N, 4), side by side, a step dt seconds."""

    def __init__(self, motion: MotionLaw, errors: ErrorLaw, unit: FloatArray, dt: float) -> None:
        rho = np.exp(-dt / errors.seconds)
        change, lasting, self.white = (
            (np.asarray(x) * unit) ** 2 for x in (errors.change, errors.lasting, errors.white)
        )
        self.step = np.array([[1.0, dt, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, rho]])
        self.noise, self.first = np.zeros((2, *unit.shape, 3, 3))
        self.noise[..., 0, 0], self.noise[..., 1, 1] = change * dt**3 / 3, change * dt
        self.noise[..., 0, 1] = self.noise[..., 1, 0] = change * dt**2 / 2
        self.noise[..., 2, 2] = lasting * (1 - rho**2)
        self.first[..., 0, 0] = (UNKNOWN * unit) ** 2
        self.first[..., 1, 1] = (np.asarray(motion.speed) * unit) ** 2
        self.first[..., 2, 2] = lasting
        self.motion, self.unit = motion, unit

    def forward(self, o: FloatArray, seen: BoolArray) -> tuple[list[States], list[States]]:
        """Return what is known at each frame of detections o (T, N, 4), where ``seen`` (T, N).

        And what was expected of each but the first.
        """
        known, ahead = list[States](), list[States]()
        mean = np.zeros((*self.unit.shape, 3))
        mean[..., 0] = o[seen.argmax(0), np.arange(len(mean))]
        now = States(mean, self.first)
        for t in range(len(o)):
            if t:
                covariance = self.step @ now.covariance @ self.step.T + self.noise
                now = States(now.mean @ self.step.T, covariance)
                ahead.append(now)
            now = self.learn(now, o[t], np.flatnonzero(seen[t]))
            known.append(now)
        return known, ahead

    def learn(self, now: States, o: FloatArray, who: IntArray) -> States:
        """Condition on detections of some, whose noise is as large as their error says."""
        mean, covariance = now.mean.copy(), now.covariance.copy()
        along = covariance[who] @ SEEN
        expected, error = along @ SEEN, o[who] - mean[who] @ SEEN
        noise = self.motion.doubted(error, expected, self.white[who], self.unit[who])
        gain = along / (expected + noise)[..., None]
        mean[who] += gain * error[..., None]
        covariance[who] -= gain[..., None] * along[..., None, :]
        return States(mean, covariance)

    def back(self, known: States, ahead: States, later: States) -> States:
        """Take one step back of the Rauch-Tung-Striebel smoother."""
        cross = self.step @ known.covariance  # of the next state with now's
        gain = np.linalg.solve(ahead.covariance, cross).swapaxes(-1, -2)
        mean = known.mean + (gain @ (later.mean - ahead.mean)[..., None])[..., 0]
        change = gain @ (later.covariance - ahead.covariance) @ gain.swapaxes(-1, -2)
        return States(mean, known.covariance + change)
