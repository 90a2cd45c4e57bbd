"""What stands before what: the share of a box that nearer boxes cover."""

from __future__ import annotations

import numpy as np

from inference.tasks.tracking.batch import to_centre, to_ltwh
from inference.tasks.tracking.kalman import BoolArray, FloatArray, IntArray
from inference.tasks.tracking.whole.candidates import Links
from inference.tasks.tracking.whole.video import Video

LOOKS = 4
"""Places in a gap that are looked at."""
HIDDEN = 0.7
"""Share of a box from which on it counts as wholly covered."""
LEVEL = 0.05
"""Heights by which a bottom edge may be higher in the image, and its box still be nearer."""
_TOGETHER = 4096


def cover_in_gaps(
    video: Video, runs: list[IntArray], links: Links, objects: BoolArray
) -> FloatArray:
    """Return how far (0 to 1) what is unseen in each link's gap would be covered, on average.

    Boxes in a gap are taken to lie on the straight line from the source's last to the target's
    first. ``objects`` (R) are the detections that may stand before something.
    """
    covered = np.zeros(len(links.gap))
    index = np.flatnonzero(links.gap > 1)
    if not len(index):
        return covered
    o, frame = to_centre(video.boxes.ltwh), video.rows.frame  # in the image, if the camera moves
    before = np.array([run[-1] for run in runs])[links.source[index]]
    after = np.array([run[0] for run in runs])[links.target[index]]
    for look in range(LOOKS):
        step = np.rint((look + 0.5) / LOOKS * links.gap[index]).clip(1, links.gap[index] - 1)
        share = (step / links.gap[index])[:, None]
        boxes = to_ltwh((1 - share) * o[before] + share * o[after])
        cover = cover_of(video, boxes, frame[before] + step.astype(int), objects)
        covered[index] += np.minimum(1.0, cover / HIDDEN) / LOOKS
    return covered


def cover_of(video: Video, boxes: FloatArray, frame: IntArray, objects: BoolArray) -> FloatArray:
    """Return the largest share of boxes (A, 4), left, top, width, height, behind one detection."""
    cover = np.zeros(len(boxes))
    if not len(boxes):
        return cover
    order = np.argsort(frame, kind="stable")
    cuts = np.flatnonzero(np.diff(frame[order], prepend=-1))
    for some in np.split(order, cuts[1:]):
        t = int(frame[some[0]])
        rows = np.arange(video.bounds[t], video.bounds[t + 1])
        rows = rows[objects[rows]]
        for begin in range(0, len(some), _TOGETHER):
            part = some[begin : begin + _TOGETHER]
            cover[part] = _covered(boxes[part], video.boxes.ltwh[rows])
    return cover


def _covered(boxes: FloatArray, others: FloatArray) -> FloatArray:
    if not len(others):
        return np.zeros(len(boxes))
    low = np.maximum(boxes[:, None, :2], others[:, :2])
    high = np.minimum((boxes[:, :2] + boxes[:, 2:])[:, None], others[:, :2] + others[:, 2:])
    share = (high - low).clip(min=0).prod(-1) / boxes[:, 2:].prod(-1)[:, None]
    bottom = boxes[:, 1] + boxes[:, 3]
    nearer = others[:, 1] + others[:, 3] > (bottom - LEVEL * boxes[:, 3])[:, None]
    found: FloatArray = (share * nearer).max(1)
    return found
