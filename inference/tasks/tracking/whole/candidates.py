"""Links that may be: pairs of tracklets, and log odds of one being followed by the other."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from inference.tasks.tracking.kalman import Belief, BoolArray, FloatArray, IntArray
from inference.tasks.tracking.whole.law import MotionLaw, log_normal
from inference.tasks.tracking.whole.starts import Surroundings, intensity
from inference.tasks.tracking.whole.video import Video, unit_of

HOPELESS = -10.0
"""Log odds below which a pair is no link: no gap is likelier by as much."""
GATE = 5.0
"""Standard deviations of a position beyond which a pair is not looked at."""


class Links(NamedTuple):
    """E pairs of tracklets, the second beginning after the first ends."""

    source: IntArray
    target: IntArray
    gap: IntArray
    """Frames from the source's last to the target's first, 1 or more."""
    odds: FloatArray

    def of(self, kept: BoolArray) -> Links:
        """Return some of the links."""
        source, target, gap, odds = self
        return Links(source[kept], target[kept], gap[kept], odds[kept])


class Ends(NamedTuple):
    """Of M runs: what is known where they begin and end."""

    first: IntArray
    last: IntArray
    begin: Belief
    end: Belief
    unit: FloatArray


def candidates(
    video: Video,
    runs: list[IntArray],
    worth: FloatArray,
    law: MotionLaw,
    near: Surroundings,
    longest: float,
) -> Links:
    """Return links over gaps of up to ``longest`` seconds, by motion alone.

    ``runs`` are in the order of their first frames; ``worth`` (M) are their log odds to be an
    object's.
    """
    ends = ends_of(video, runs, law)
    weight = 1 / (1 + np.exp(-worth.clip(-30, 30)))
    rival = intensity(video, ends.begin.s, ends.begin.s, weight, near, np.arange(len(runs)))
    wide = (np.asarray(law.speed) * ends.unit) ** 2
    rival = rival + log_normal(ends.begin.z, wide).sum(-1)
    frames = round(longest * video.rate)
    found = [_from(i, ends, rival, video.rate, law, frames) for i in range(len(runs))]
    source, target, odds = (np.concatenate(x) for x in zip(_none(), *found, strict=True))
    return Links(source, target, ends.first[target] - ends.last[source], odds)


def _none() -> tuple[IntArray, IntArray, FloatArray]:
    return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)


def _from(
    i: int, ends: Ends, rival: FloatArray, rate: float, law: MotionLaw, frames: int
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return source, targets and log odds of the links from one run."""
    reach = [ends.last[i] + 1, ends.last[i] + frames + 1]
    target = np.arange(*np.searchsorted(ends.first, reach))
    if not len(target):
        return _none()
    now, unit = ends.end.take(np.full(len(target), i)), ends.unit[i : i + 1]
    ahead = law.carry(now, (ends.first[target] - ends.last[i]) / rate, unit)
    begin = ends.begin.take(target)
    error, variance = begin.s - ahead.s, ahead.ss + begin.ss
    near = (error[:, :2] ** 2 < GATE**2 * variance[:, :2]).all(1)
    target, error, variance = target[near], error[near], variance[near]
    ahead, begin = ahead.take(np.flatnonzero(near)), begin.take(np.flatnonzero(near))
    place = law.log_density(error, variance, unit)
    speed = _log_speed(error, variance, ahead, begin, law, unit)
    odds = (place + speed).sum(-1) - rival[target]
    kept = odds > HOPELESS
    return np.full(int(kept.sum()), i), target[kept], odds[kept]


def _log_speed(
    error: FloatArray,
    variance: FloatArray,
    ahead: Belief,
    begin: Belief,
    law: MotionLaw,
    unit: FloatArray,
) -> FloatArray:
    """Log density of the difference of velocities, given that of positions, by coordinate."""
    cross, speed = ahead.sz + begin.sz, ahead.zz + begin.zz
    reach = 3 * np.sqrt(variance)  # a large error of the box says no more about its velocity
    change = begin.z - ahead.z - cross / variance * error.clip(-reach, reach)
    left = speed - cross**2 / variance
    wide = left + (2 * np.asarray(law.speed) * unit) ** 2
    small = np.log(1 - law.outliers) + log_normal(change, left)
    return np.logaddexp(small, np.log(law.outliers) + log_normal(change, wide))


def ends_of(video: Video, runs: list[IntArray], law: MotionLaw) -> Ends:
    """Filter each run forward and backward."""
    frame, o = video.rows.frame, video.rows.o
    first, last = (np.array([frame[run[i]] for run in runs], np.int64) for i in (0, -1))
    unit = unit_of(np.array([np.median(o[run, 3]) for run in runs]))
    end = _filtered(video, runs, unit, law)
    begin = _filtered(video, [run[::-1] for run in runs], unit, law)
    begin.z, begin.sz = -begin.z, -begin.sz  # in the direction of time
    return Ends(first, last, begin, end, unit)


def _filtered(video: Video, runs: list[IntArray], unit: FloatArray, law: MotionLaw) -> Belief:
    """Filter runs side by side, in the order given; return their last states."""
    if not runs:
        return Belief.empty(4)
    count = np.array([len(run) for run in runs])
    flat, offset = np.concatenate(runs), np.cumsum(count) - count
    frame, o, units = video.rows.frame[flat], video.rows.o[flat], video.rows.unit[flat]
    belief = law.begin(o[offset], units[offset])
    for step in range(1, int(count.max())):
        who = np.flatnonzero(count > step)
        at = offset[who] + step
        seconds = np.abs(frame[at] - frame[at - 1]) / video.rate
        ahead = law.carry(belief.take(who), seconds, unit[who])
        belief.put(who, law.learn(ahead, o[at], unit[who]))
    return belief
