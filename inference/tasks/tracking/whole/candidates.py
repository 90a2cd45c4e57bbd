"""Links that may be: pairs of tracklets, and log odds of one being followed by the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from inference.tasks.tracking.kalman import Belief, BoolArray, FloatArray, IntArray
from inference.tasks.tracking.whole.law import MotionLaw, log_normal
from inference.tasks.tracking.whole.starts import Surroundings, intensity
from inference.tasks.tracking.whole.video import Video, units_of

HOPELESS = -10.0
"""Log odds below which a pair is no link: no gap is likelier by as much."""
TOGETHER = 50_000
"""Pairs that are looked at at once, about."""
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
    found = [_scored(*pair, ends, rival, video.rate, law) for pair in _pairs(ends, frames)]
    source, target, odds = (np.concatenate(x) for x in zip(_none(), *found, strict=True))
    return Links(source, target, ends.first[target] - ends.last[source], odds)


def _none() -> tuple[IntArray, IntArray, FloatArray]:
    return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)


def _pairs(ends: Ends, frames: int) -> Iterator[tuple[IntArray, IntArray]]:
    """Give sources and targets that begin up to so many ``frames`` after, some at a time."""
    begin = np.searchsorted(ends.first, ends.last + 1)
    count = np.searchsorted(ends.first, ends.last + frames + 1) - begin
    total = np.cumsum(count)
    cuts = np.searchsorted(total, np.arange(0, total[-1] if len(total) else 0, TOGETHER))
    for some in np.split(np.arange(len(count)), np.unique(cuts)):
        each = count[some]
        source = np.repeat(some, each)
        place = np.arange(len(source)) - np.repeat(np.cumsum(each) - each, each)
        yield source, begin[source] + place


def _scored(
    source: IntArray, target: IntArray, ends: Ends, rival: FloatArray, rate: float, law: MotionLaw
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return source, target and log odds of those pairs that may be links."""
    unit, seconds = ends.unit[source], (ends.first[target] - ends.last[source]) / rate
    ahead, begin = law.carry(ends.end.take(source), seconds, unit), ends.begin.take(target)
    near = ((begin.s - ahead.s)[:, :2] ** 2 < GATE**2 * (ahead.ss + begin.ss)[:, :2]).all(1)
    kept = np.flatnonzero(near)
    source, target, unit = source[kept], target[kept], unit[kept]
    ahead, begin = ahead.take(kept), begin.take(kept)
    error, variance = begin.s - ahead.s, ahead.ss + begin.ss
    place = law.log_density(error, variance, unit)
    speed = _log_speed(error, variance, ahead, begin, law, unit)
    odds = (place + speed).sum(-1) - rival[target]
    good = odds > HOPELESS
    return source[good], target[good], odds[good]


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
    frame = video.rows.frame
    first, last = (np.array([frame[run[i]] for run in runs], np.int64) for i in (0, -1))
    unit = units_of(video, runs)
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
