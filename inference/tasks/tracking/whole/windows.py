"""Windows of a long video: followed one by one, and joined where they overlap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from inference.tasks.tracking.kalman import BoolArray, FloatArray, IntArray
from ppl_models.errors import InputError

LONGEST, OVERLAP = 600, 120
"""Frames of a window, and of what two have in common."""


class Followed(NamedTuple):
    """P boxes of objects in some frames, a row a box; see `LiveTracks`."""

    object: IntArray
    frame: IntArray
    mean: FloatArray
    variance: FloatArray
    present: FloatArray
    seen: FloatArray
    detection: IntArray

    def of(self, rows: BoolArray | IntArray) -> Followed:
        """Return some of the rows."""
        return Followed._make(part[rows] for part in self)

    @classmethod
    def none(cls) -> Followed:
        """Return no row."""
        whole, number = np.zeros(0, np.int64), np.zeros(0)
        return cls(whole, whole, np.zeros((0, 4)), np.zeros((0, 4)), number, number, whole)


class Window(NamedTuple):
    """What is found in a window of L frames."""

    boxes: Followed
    steps: FloatArray
    """(L, 4): of the camera, from the frame before (0 in the first frame)."""


def windows(
    first: int, last: int, longest: int = LONGEST, overlap: int = OVERLAP
) -> Iterator[tuple[int, int]]:
    """Give first and last frame of each window; a video not much longer than one is one.

    Raises
    ------
    InputError
        An overlap as long as a window, or less than none.
    """
    if not 0 <= overlap < longest:
        found, expected = f"{longest} frames, overlap {overlap}", "0 <= overlap < window"
        raise InputError("window", found, expected, "pass window=600, overlap=120")
    if last - first + 1 <= longest + overlap:
        yield first, last
        return
    begin = first
    while True:
        end = begin + longest - 1
        if end + (longest - overlap) // 2 >= last:
            yield begin, last
            return
        yield begin, end
        begin = end + 1 - overlap


def middle(begin: int, end: int) -> int:
    """Return the frame from which on a window is believed that begins at ``begin``.

    The one before it ends at ``end``.
    """
    return (begin + end + 1) // 2


def join(before: Followed, after: Followed, begin: int, end: int) -> Followed:
    """Join what was found until frame ``end`` with what was found from frame ``begin`` on.

    Objects are the same if they have detections in common, the more the better, one with one. The
    earlier window is believed until the middle of the overlap.
    """
    since = middle(begin, end)
    name = _same(before, after)
    fresh = int(before.object.max(initial=0))
    for one in np.unique(after.object).tolist():
        if one not in name:
            fresh += 1
            name[one] = fresh
    renamed = np.array([name[one] for one in after.object.tolist()], np.int64)
    old = before.of(before.frame < since)
    new = after._replace(object=renamed).of(after.frame >= since)
    return Followed._make(np.concatenate(pair) for pair in zip(old, new, strict=True))


def _same(before: Followed, after: Followed) -> dict[int, int]:
    """Return the earlier name of later objects that have detections in common with one."""
    late = before.of(before.frame >= after.frame.min(initial=np.iinfo(np.int64).max))
    mine = dict(zip(late.detection.tolist(), late.object.tolist(), strict=True))
    mine.pop(-1, None)
    pairs = [
        (mine[row], one)
        for row, one in zip(after.detection.tolist(), after.object.tolist(), strict=True)
        if row in mine
    ]
    if not pairs:
        return {}
    (old, a), (new, b) = (np.unique(x, return_inverse=True) for x in zip(*pairs, strict=True))
    shared = np.zeros((len(old), len(new)))
    np.add.at(shared, (a, b), 1)
    rows, columns = linear_sum_assignment(-shared)
    return {
        int(new[j]): int(old[i]) for i, j in zip(rows, columns, strict=True) if shared[i, j] > 0
    }
