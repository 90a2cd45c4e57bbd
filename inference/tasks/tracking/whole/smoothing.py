"""Boxes of objects in every frame, given their detections: a smoother over all objects at once."""

from __future__ import annotations

import numpy as np

from inference.tasks.tracking.kalman import Belief, BoolArray, FloatArray, IntArray
from inference.tasks.tracking.whole.law import MotionLaw
from inference.tasks.tracking.whole.video import Video, unit_of

UNKNOWN = 50.0
"""Standard deviation of a first position, in heights."""


def smooth(video: Video, chains: list[IntArray], law: MotionLaw) -> tuple[FloatArray, FloatArray]:
    """Return means and variances (N, T, 4) of N objects in all frames.

    Before its first detection and after its last an object moves on as it did.
    """
    count, length = len(chains), video.length
    if not count:
        return np.zeros((0, length, 4)), np.zeros((0, length, 4))
    o, seen = np.zeros((length, count, 4)), np.zeros((length, count), bool)
    for n, chain in enumerate(chains):
        o[video.rows.frame[chain], n], seen[video.rows.frame[chain], n] = video.rows.o[chain], True
    unit = unit_of(np.array([np.median(video.rows.o[chain, 3]) for chain in chains]))
    first = o[seen.argmax(0), np.arange(count)]
    known, ahead = _forward(o, seen, first, unit, video.rate, law)
    found = [known[-1]]
    for t in range(length - 2, -1, -1):
        found.append(_back(known[t], ahead[t], found[-1], 1 / video.rate))
    mean, variance = (np.stack([getattr(x, part) for x in found[::-1]], 1) for part in ("s", "ss"))
    return mean, variance


def _forward(
    o: FloatArray,
    seen: BoolArray,
    first: FloatArray,
    unit: FloatArray,
    rate: float,
    law: MotionLaw,
) -> tuple[list[Belief], list[Belief]]:
    """Filter; return what is known at each frame, and what was expected of the next one."""
    zero = np.zeros_like(unit)
    now = Belief(first, zero, (UNKNOWN * unit) ** 2, zero, (np.asarray(law.speed) * unit) ** 2)
    known, ahead = [], []
    second = np.full(len(unit), 1 / rate)
    for t in range(len(o)):
        if t:
            now = law.carry(now, second, unit)
            ahead.append(now)
            now = now.take(np.arange(len(unit)))
        who = np.flatnonzero(seen[t])
        if len(who):
            now.put(who, law.learn(now.take(who), o[t, who], unit[who]))
        known.append(now.take(np.arange(len(unit))))
    return known, ahead


def _back(known: Belief, ahead: Belief, later: Belief, dt: float) -> Belief:
    """Take one step back of the Rauch-Tung-Striebel smoother, by coordinate."""
    ss, sz = known.ss + dt * known.sz, known.sz  # covariance of now's position with the next state
    zs, zz = known.sz + dt * known.zz, known.zz
    det = ahead.ss * ahead.zz - ahead.sz**2
    a, b = (ss * ahead.zz - sz * ahead.sz) / det, (sz * ahead.ss - ss * ahead.sz) / det
    c, d = (zs * ahead.zz - zz * ahead.sz) / det, (zz * ahead.ss - zs * ahead.sz) / det
    ds, dz = later.s - ahead.s, later.z - ahead.z
    p, q, r = later.ss - ahead.ss, later.sz - ahead.sz, later.zz - ahead.zz
    return Belief(
        known.s + a * ds + b * dz,
        known.z + c * ds + d * dz,
        known.ss + a * (a * p + b * q) + b * (a * q + b * r),
        known.sz + c * (a * p + b * q) + d * (a * q + b * r),
        known.zz + c * (c * p + d * q) + d * (c * q + d * r),
    )
