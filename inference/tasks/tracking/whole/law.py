r"""How a box moves, and how a detection errs: constants a second, in units of the box's height.

Each coordinate d by itself: a position s and a velocity v, whose changes are white noise,

.. math::
    ds = v \, dt, \qquad dv = q_d u \, dW, \qquad v_0 \sim N(0, (\nu_d u)^2),

and a detection of it, in error by a little or, with a share epsilon, by a lot (a box cut by what
stands before it has another width; its error is no sign of another object):

.. math::
    o \sim (1 - \epsilon) N(s, (r_d u)^2) + \epsilon N(s, (r_d u)^2 + (\beta_d u)^2).

Time is in seconds, so that one law serves every frame rate. Matching from frame to frame has a law
of its own: errors of neighbouring frames are partly the same error, which over a gap is a calmer
motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inference.tasks.tracking.kalman import LOG_2PI, Belief, FloatArray

Four = tuple[float, float, float, float]


@dataclass(frozen=True)
class MotionLaw:
    """Constants of four coordinates: centre x and y (in heights), log width and log height.

    Attributes
    ----------
    noise : tuple of float
        r: standard deviation of a detection.
    change : tuple of float
        q: of velocity, in heights a second, after a second.
    speed : tuple of float
        nu: of the first velocity, heights a second.
    outliers : float
        epsilon: share of large errors, a coordinate.
    spread : tuple of float
        beta: standard deviation of large errors.
    """

    noise: Four
    change: Four
    speed: Four = (0.5, 0.35, 0.35, 0.3)
    outliers: float = 0.2
    spread: Four = (0.2, 0.2, 0.4, 0.3)

    def variance(self, unit: FloatArray) -> FloatArray:
        """Return the variance of detections whose unit is (..., 4)."""
        variance: FloatArray = (np.asarray(self.noise) * unit) ** 2
        return variance

    def begin(self, o: FloatArray, unit: FloatArray) -> Belief:
        """Return states that know one detection (A, 4) each."""
        zero = np.zeros_like(o)
        wide = (np.asarray(self.speed) * unit) ** 2
        return Belief(o.copy(), zero, self.variance(unit), zero.copy(), wide)

    def carry(self, now: Belief, seconds: FloatArray, unit: FloatArray) -> Belief:
        """Return states so many ``seconds`` (A) later."""
        dt = np.asarray(seconds)[..., None]
        noise = (np.asarray(self.change) * unit) ** 2
        return Belief(
            now.s + dt * now.z,
            now.z,
            now.ss + 2 * dt * now.sz + dt**2 * now.zz + noise * dt**3 / 3,
            now.sz + dt * now.zz + noise * dt**2 / 2,
            now.zz + noise * dt,
        )

    def log_density(self, error: FloatArray, variance: FloatArray, unit: FloatArray) -> FloatArray:
        """Log density of errors (..., 4) whose small part has a variance, by coordinate."""
        small, large = self._parts(error, variance, unit)
        return np.logaddexp(small, large)

    def learn(self, ahead: Belief, o: FloatArray, unit: FloatArray) -> Belief:
        """Condition states on detections (A, 4), whose noise is as large as their error says."""
        known, _ = ahead.learn(o, self.doubted(o - ahead.s, ahead.ss, self.variance(unit), unit))
        return known

    def doubted(
        self, error: FloatArray, expected: FloatArray, variance: FloatArray, unit: FloatArray
    ) -> FloatArray:
        """Return the variance of detections that are in error by so much.

        Small errors have a ``variance``, to which comes what is ``expected`` of the state's.
        """
        small, large = self._parts(error, expected + variance, unit)
        doubt = 1 / (1 + np.exp(np.clip(small - large, -50, 50)))
        wide = variance + (np.asarray(self.spread) * unit) ** 2
        noise: FloatArray = 1 / ((1 - doubt) / variance + doubt / wide)
        return noise

    def _parts(
        self, error: FloatArray, variance: FloatArray, unit: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        wide = variance + (np.asarray(self.spread) * unit) ** 2
        small = np.log(1 - self.outliers) + log_normal(error, variance)
        return small, np.log(self.outliers) + log_normal(error, wide)


def log_normal(error: FloatArray, variance: FloatArray) -> FloatArray:
    """Log density of an error, by coordinate."""
    density: FloatArray = -0.5 * (error**2 / variance + np.log(variance) + LOG_2PI)
    return density


MATCHING = MotionLaw(noise=(0.03, 0.03, 0.06, 0.05), change=(0.5, 0.3, 0.3, 0.3))
"""From frame to frame."""
LINKING = MotionLaw(noise=(0.063, 0.063, 0.084, 0.07), change=(0.35, 0.12, 0.1, 0.12))
"""Over a gap."""
