"""The linear prior in NumPy: Kalman states of many tracklets, carried over gaps of any length.

Each coordinate by itself, as in `ppl_models.linear_motion`, in the coordinates of the detections;
an object's size is the unit of its motion.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ppl_models.linear_motion import LinearMotion

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
LOG_2PI = math.log(2 * math.pi)


@dataclass
class Belief:
    """Position s and velocity z of A tracklets, means and covariances, (A, D) each."""

    s: FloatArray
    z: FloatArray
    ss: FloatArray
    sz: FloatArray
    zz: FloatArray

    @classmethod
    def empty(cls, dim: int) -> Belief:
        """Return no state at all."""
        return cls(*np.zeros((5, 0, dim)))

    def parts(self) -> tuple[FloatArray, ...]:
        """Return the five arrays, in order."""
        return self.s, self.z, self.ss, self.sz, self.zz

    def take(self, index: IntArray | list[int]) -> Belief:
        """Return the states at ``index``."""
        return Belief(*(part.take(index, 0) for part in self.parts()))

    def put(self, index: IntArray, other: Belief) -> None:
        """Overwrite the states at ``index``."""
        for mine, new in zip(self.parts(), other.parts(), strict=True):
            mine[index] = new

    def turned(self) -> Belief:
        """Return the states with a coordinate a row, (D, A)."""
        return Belief(*(np.ascontiguousarray(part.T) for part in self.parts()))

    def columns(self, index: IntArray | slice) -> Belief:
        """Return the states at ``index`` of turned ones."""
        if isinstance(index, slice):
            return Belief(*(part[:, index] for part in self.parts()))
        return Belief(*(part.take(index, 1) for part in self.parts()))

    def join(self, other: Belief) -> Belief:
        """Return these states, then the other ones."""
        pairs = zip(self.parts(), other.parts(), strict=True)
        return Belief(*(np.concatenate(pair) for pair in pairs))

    def learn(self, o: FloatArray, variance: FloatArray) -> tuple[Belief, FloatArray]:
        """Condition on detections (A, D); return the states, and log densities (A)."""
        total, error = self.ss + variance, o - self.s
        gs, gz = self.ss / total, self.sz / total
        fit = -0.5 * (error**2 / total + np.log(total) + LOG_2PI).sum(-1)
        known = Belief(
            self.s + gs * error,
            self.z + gz * error,
            gs * variance,
            gz * variance,
            self.zz - gz * self.sz,
        )
        return known, fit


class Motion:
    """The linear prior over any number of frames, in closed form by a table over gaps.

    Parameters
    ----------
    prior : LinearMotion
        Whose constants are read.
    frames : int
        The longest gap.
    scale : float
        Factor on both of the prior's noises.
    """

    def __init__(self, prior: LinearMotion, frames: int, scale: float) -> None:
        self.speed, sigma, epsilon = (
            x.detach().cpu().double().exp().numpy()
            for x in (prior.log_speed, prior.log_speed_noise, prior.log_position_noise)
        )
        sigma, epsilon = scale * sigma, scale * epsilon
        decay = prior.decay.cpu().double().numpy()
        rows = [(np.zeros_like(decay), np.ones_like(decay), *np.zeros((3, len(decay))))]
        for _ in range(frames):
            reach, kept, ss, sz, zz = rows[-1]
            zz2 = decay**2 * zz + sigma**2
            sz2 = decay * sz + zz2
            ss2 = ss + 2 * decay * sz + zz2 + epsilon**2
            kept = kept * decay
            rows.append((reach + kept, kept, ss2, sz2, zz2))
        self.table = np.array(rows)  # (frames + 1, 5, D)
        self._courses = np.ascontiguousarray(np.moveaxis(self.table, 0, 2))

    def predict(self, now: Belief, steps: IntArray, scale: FloatArray) -> Belief:
        """Carry states (A, D) over ``steps`` (A) frames; ``scale`` (A, D) is the object's size."""
        return self._carry(now, np.moveaxis(self.table[steps], 1, 0), scale**2)

    def course(self, now: Belief, frames: slice, scale: FloatArray) -> Belief:
        """Carry states (D, A) over each of so many ``frames``: (D, A, frames)."""
        states = Belief(*(part[..., None] for part in now.parts()))
        return self._carry(states, self._courses[:, :, None, frames], scale.T[..., None] ** 2)

    @staticmethod
    def _carry(now: Belief, table: FloatArray, noise: FloatArray) -> Belief:
        reach, kept, ss, sz, zz = table
        return Belief(
            now.s + reach * now.z,
            kept * now.z,
            now.ss + 2 * reach * now.sz + reach**2 * now.zz + ss * noise,
            kept * (now.sz + reach * now.zz) + sz * noise,
            kept**2 * now.zz + zz * noise,
        )

    def begin(self, o: FloatArray, variance: FloatArray, scale: FloatArray) -> Belief:
        """Return states that know one detection (A, D) each, and a wide prior of velocity."""
        zero = np.zeros_like(o)
        return Belief(o.copy(), zero, variance.copy(), zero.copy(), (self.speed * scale) ** 2)
