r"""Evidence of paths: how likely a chain's boxes are, its path and lasting errors integrated out.

The state of each coordinate is that of `smoothing`: position, velocity, and the error that lasts.
A Kalman filter over the chain's detections gives each one's log density given those before it; a
chain can be cut, and continued by another's detections, at any row, from the state kept there.

Large errors are an approximation: each coordinate's density is a mixture of a small and a large
error, after which the state is one Gaussian again, that of `MotionLaw.doubted`. It is exact as the
share of large errors goes to 0. A large error is one of the lasting error, which jumps: were each
detection wrong by itself, a box that is cut for a second would be evidence of somebody else many
times over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from inference.tasks.tracking.kalman import FloatArray, IntArray
from inference.tasks.tracking.whole.errors import ErrorLaw
from inference.tasks.tracking.whole.law import MotionLaw
from inference.tasks.tracking.whole.video import Video


class State(NamedTuple):
    """What is known of A objects."""

    mean: FloatArray
    """(3, A, 4): position, velocity, lasting error."""
    covariance: FloatArray
    """(6, A, 4): of position; position and velocity; velocity; each of both and error; error."""

    def of(self, which: IntArray | slice) -> State:
        """Return the states of some."""
        return State(self.mean[:, which], self.covariance[:, which])


@dataclass(frozen=True)
class PathLaw:
    """How paths bend and boxes err: velocities of ``motion``, small errors of ``errors``.

    The unit of a detection's error is its own height; that of motion, the height of the detection
    before.
    """

    motion: MotionLaw
    errors: ErrorLaw

    def begin(self, o: FloatArray, unit: FloatArray) -> State:
        """Return states that know one detection (A, 4) each, and nothing of its place before."""
        zero = np.zeros_like(o)
        speed = (np.asarray(self.motion.speed) * unit) ** 2
        lasting = (np.asarray(self.errors.lasting) * unit) ** 2
        place = self.white(unit) + lasting
        covariance = np.stack([place, zero, speed, -lasting, zero, lasting])
        return State(np.stack([o, zero, zero]), covariance)

    def white(self, unit: FloatArray) -> FloatArray:
        """Return the variance of errors of one frame."""
        variance: FloatArray = (np.asarray(self.errors.white) * unit) ** 2
        return variance

    def large(self, unit: FloatArray) -> FloatArray:
        """Return the variance of large errors."""
        variance: FloatArray = (np.asarray(self.motion.spread) * unit) ** 2
        return variance

    def carry(self, now: State, seconds: FloatArray, unit: FloatArray) -> State:
        """Return states so many ``seconds`` (A) later."""
        dt = seconds[:, None]
        rho = np.exp(-dt / self.errors.seconds)
        change = (np.asarray(self.motion.change) * unit) ** 2 * dt
        lasting = (np.asarray(self.errors.lasting) * unit) ** 2
        (s, v, e), (ss, sv, vv, se, ve, ee) = now
        covariance = np.empty_like(now.covariance)
        covariance[0] = ss + dt * (2 * sv + dt * (vv + change / 3))
        covariance[1] = sv + dt * (vv + change / 2)
        covariance[2] = vv + change
        covariance[3] = rho * (se + dt * ve)
        covariance[4] = rho * ve
        covariance[5] = lasting + rho**2 * (ee - lasting)
        return State(np.stack([s + dt * v, v, rho * e]), covariance)

    def learn(self, ahead: State, o: FloatArray, unit: FloatArray) -> tuple[State, FloatArray]:
        """Condition on detections (A, 4); also return their log densities (A)."""
        ss, sv, vv, se, ve, ee = ahead.covariance
        along = np.stack([ss + se, sv + ve, se + ee])
        expected, white = along[0] + along[2], self.white(unit)
        error = o - ahead.mean[0] - ahead.mean[2]
        density = self.motion.log_density(error, expected + white, unit).sum(-1)
        noise = self.motion.doubted(error, expected, white, unit)
        large = noise - white  # what is wrong by much stays wrong for a while: part of the error
        along[2] += large
        gain = along / (expected + noise)
        (gs, gv, ge), (cs, cv, ce) = gain, along
        less = np.stack([gs * cs, gs * cv, gv * cv, gs * ce, gv * ce, ge * ce])
        less[5] -= large
        return State(ahead.mean + gain * error, ahead.covariance - less), density


class Paths(NamedTuple):
    """Of R detections, each in some chain: what is known once each is seen."""

    state: State
    """(R)"""
    density: FloatArray
    """(R): log density given the chain's detections before; 0 for its first."""

    @classmethod
    def none(cls, count: int) -> Paths:
        """Return a place for so many detections."""
        return cls(State(np.zeros((3, count, 4)), np.ones((6, count, 4))), np.zeros(count))

    def put(self, rows: IntArray, state: State, density: FloatArray | float) -> None:
        """Write what is known at some rows."""
        self.state.mean[:, rows], self.state.covariance[:, rows] = state
        self.density[rows] = density


def filter_chains(
    video: Video,
    chains: list[IntArray],
    law: PathLaw,
    paths: Paths,
    known: list[int] | None = None,
) -> None:
    """Filter ``chains`` side by side, and write what is known at each of their rows to ``paths``.

    Of each, so many first rows may be ``known`` there already.
    """
    done = np.zeros(len(chains), np.int64) if known is None else np.array(known, np.int64)
    begin = [chain[0] for chain, k in zip(chains, done, strict=True) if not k]
    rows = np.array(begin, np.int64)
    paths.put(rows, law.begin(video.rows.o[rows], video.rows.unit[rows]), 0.0)
    done = np.maximum(done, 1)
    count = np.array([len(chain) for chain in chains], np.int64) - done
    order = np.argsort(-count, kind="stable")
    count = count[order]
    before = np.array([chains[k][done[k] - 1] for k in order], np.int64)
    flat = np.concatenate([np.zeros(0, np.int64), *(chains[k][done[k] :] for k in order)])
    offset, now = np.cumsum(count) - count, paths.state.of(before)
    for step in range(int(count.max(initial=0))):
        active = int(np.searchsorted(-count, -step))  # whose count is above step: a head
        rows = flat[offset[:active] + step]
        now, density = _step(video, law, now.of(slice(active)), before[:active], rows)
        paths.put(rows, now, density)
        before = rows


def continued(
    video: Video, now: State, before: IntArray, tails: list[IntArray], law: PathLaw
) -> FloatArray:
    """Return log densities (A) of all of ``tails`` (rows) after states known at rows ``before``."""
    count = np.array([len(tail) for tail in tails])
    order = np.argsort(-count, kind="stable")
    now, before, sizes = now.of(order), before[order], count[order]
    flat = np.concatenate([tails[i] for i in order]) if len(order) else np.zeros(0, np.int64)
    offset, total = np.cumsum(sizes) - sizes, np.zeros(len(order))
    for step in range(int(sizes.max(initial=0))):
        active = int(np.searchsorted(-sizes, -step))
        rows = flat[offset[:active] + step]
        now, density = _step(video, law, now.of(slice(active)), before[:active], rows)
        total[:active] += density
        before = rows
    found = np.empty(len(order))
    found[order] = total
    return found


def _step(
    video: Video, law: PathLaw, now: State, before: IntArray, rows: IntArray
) -> tuple[State, FloatArray]:
    frame, o, unit = video.rows.frame, video.rows.o, video.rows.unit
    seconds = (frame[rows] - frame[before]) / video.rate
    return law.learn(law.carry(now, seconds, unit[before]), o[rows], unit[rows])
