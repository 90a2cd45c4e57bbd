"""Where chains come near each other, and might have been taken for one another."""

from __future__ import annotations

import numpy as np

from inference.tasks.tracking.kalman import BoolArray, FloatArray, IntArray
from inference.tasks.tracking.whole.video import Video, unit_of

LOOK_SECONDS = 0.2
"""Between two looks."""
BEYOND = 1.0
"""Seconds that a chain is taken to stay where it began, or ended."""
MANY, LEAST_MANY = 30_000, 50
"""Encounters that are looked at, about, and in each look: the nearest ones."""
NEAR = np.array([0.5, 0.4, 0.5, 0.3])
"""How far boxes may be apart, in heights and logs."""


def encounters(
    video: Video, chains: list[IntArray], fresh: BoolArray
) -> tuple[IntArray, IntArray, IntArray]:
    """Return pairs of chains (M), the first ``fresh``, and frames in which they are near.

    Between its detections a chain is taken to go straight.
    """
    look = np.arange(1, video.length, max(1, round(LOOK_SECONDS * video.rate)))
    if len(chains) < 2 or not len(look):
        return tuple(np.zeros((3, 0), np.int64))  # type: ignore[return-value]
    boxes, there = _seen_at(video, chains, look)
    most = max(LEAST_MANY, MANY // len(look))
    found = []
    for t, frame in enumerate(look.tolist()):
        who = np.flatnonzero(there[:, t])
        new, o = who[fresh[who]], boxes[who, t]
        reach = NEAR * unit_of(boxes[new, t, 3])
        apart = (np.abs(boxes[new, t][:, None] - o) / reach[:, None]).max(-1)
        once = (new[:, None] < who) | ((new[:, None] > who) & ~fresh[who])
        apart = np.where(once, apart, np.inf)
        a, b = np.nonzero(apart < 1)
        best = np.argsort(apart[a, b], kind="stable")[:most]
        found.append(np.stack([new[a[best]], who[b[best]], np.full(len(best), frame)]))
    a, b, frame = np.concatenate(found, 1)
    return a, b, frame


def _seen_at(video: Video, chains: list[IntArray], look: IntArray) -> tuple[FloatArray, BoolArray]:
    """Return boxes (N, L, 4) of chains at frames (L), and where there are any."""
    boxes, there = np.zeros((len(chains), len(look), 4)), np.zeros((len(chains), len(look)), bool)
    more = BEYOND * video.rate
    for n, chain in enumerate(chains):
        frame = video.rows.frame[chain]
        for d in range(4):
            boxes[n, :, d] = np.interp(look, frame, video.rows.o[chain, d])
        there[n] = (look > frame[0] - more) & (look < frame[-1] + more)
    return boxes, there
