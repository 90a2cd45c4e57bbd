"""Bands of boxes that know that a detector's errors last.

The mixture takes each detection's error for a new one: sixty boxes that are all too wide make it
sure of a width that nobody has. Given its assignments, how large errors that last are is learned
from the batch (`inference.tasks.tracking.whole`, `errors`), and widens every band.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from inference.tasks.tracking.kalman import FloatArray, IntArray
from inference.tasks.tracking.steady import RATE
from inference.tasks.tracking.whole import ErrorLaw, Video, learn_errors, unit_of
from ppl_models.data.motchallenge import Boxes

SURE = 0.9
"""Responsibility from which on a detection counts as an object's."""


def learn_from_batch(
    boxes: Sequence[FloatArray], responsibilities: Sequence[FloatArray]
) -> ErrorLaw:
    """Return the law of errors of all sequences together, one after the other.

    Parameters
    ----------
    boxes : sequence of FloatArray
        (T, K, 4) each: detections; NaN where there is none.
    responsibilities : sequence of FloatArray
        (T, K, N) each: of the objects.
    """
    parts, chains, begin, before = list[Boxes](), list[IntArray](), 0, 0
    for each, owners in zip(boxes, responsibilities, strict=True):
        detections = Boxes.from_padded(each)
        owned = owners[~np.isnan(each[..., 0])]
        some = [_chain(detections.frame, share) for share in owned.T]
        chains += [before + chain for chain in some if len(chain)]
        parts.append(replace(detections, frame=detections.frame + begin))
        begin, before = begin + 3 * len(each), before + len(detections)
    joined = Boxes(
        np.concatenate([part.frame for part in parts]),
        np.concatenate([part.id for part in parts]),
        np.concatenate([part.ltwh for part in parts]),
        np.concatenate([part.score for part in parts]),
    )
    return learn_errors(Video(joined, 1, begin, (1.0, 1.0), RATE), chains, ErrorLaw())


def lasting_variance(law: ErrorLaw, log_height: FloatArray) -> FloatArray:
    """Return what errors that last add to the variance of boxes of some heights: (..., 4)."""
    share = np.asarray(law.lasting) ** 2 * (1 + np.asarray(law.bias) ** 2)
    variance: FloatArray = share * unit_of(log_height) ** 2
    return variance


def _chain(frame: IntArray, responsibility: FloatArray) -> IntArray:
    """Return the rows that are surely one object's, the surest of each frame."""
    rows = np.flatnonzero(responsibility > SURE)
    rows = rows[np.lexsort((-responsibility[rows], frame[rows]))]
    _, first = np.unique(frame[rows], return_index=True)
    return rows[first]
