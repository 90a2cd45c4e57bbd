"""Detections of one video, as the tracker of whole videos reads them."""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from inference.tasks.tracking.batch import to_centre
from inference.tasks.tracking.kalman import FloatArray, IntArray
from ppl_models.data.motchallenge import Boxes

LOG_SIZES = 4.0
"""Area of log widths and log heights over which what comes from anywhere is uniform."""


class Rows(NamedTuple):
    """R detections in the order of their frames."""

    frame: IntArray
    """(R): from 0."""
    o: FloatArray
    """(R, 4): centre x and y in pixels, log width and log height."""
    unit: FloatArray
    """(R, 4): (height, height, 1, 1), in which errors and motion are measured."""
    score: FloatArray
    """(R): NaN where there is none."""


class Video:
    """Detections of a video, or of a window of it.

    Parameters
    ----------
    boxes : Boxes
        In pixels; identities are not read.
    first, last : int
        Frames of the video, both included; boxes outside are left out.
    image_size : (width, height)
        In pixels.
    rate : float
        Frames a second.
    """

    def __init__(
        self,
        boxes: Boxes,
        first: int,
        last: int,
        image_size: tuple[float, float],
        rate: float,
    ) -> None:
        kept = boxes.between(first, last)
        o = to_centre(kept.ltwh)
        score = known_scores(kept.score)
        self.rows = Rows(kept.frame - first, o, unit_of(o[:, 3]), score)
        self.boxes, self.first, self.length = kept, first, last - first + 1
        self.image_size, self.rate = image_size, rate

    @cached_property
    def bounds(self) -> IntArray:
        """(T + 1): rows of frame t are bounds[t] to bounds[t + 1]."""
        return np.searchsorted(self.rows.frame, np.arange(self.length + 1))

    @property
    def log_anywhere(self) -> float:
        """Log density of a box that may be anywhere in the image, of any usual size."""
        width, height = self.image_size
        return -float(np.log(width * height * LOG_SIZES))

    def at_rate(self, rate: float) -> Video:
        """Return the same video, at another rate."""
        new = object.__new__(Video)
        new.__dict__.update(self.__dict__, rate=rate)
        return new

    def moved(self, o: FloatArray) -> Video:
        """Return the same detections with ``rows`` elsewhere (R, 4); ``boxes`` stay as they are."""
        new = object.__new__(Video)
        new.__dict__.update(self.__dict__, rows=self.rows._replace(o=o, unit=unit_of(o[:, 3])))
        return new


def known_scores(score: FloatArray) -> FloatArray:
    """Return scores, NaN where they say nothing: all the same, or negative, which means none."""
    score = np.where(score < 0, np.nan, score.astype(float))
    if not len(score) or np.isnan(score).all():
        return score
    return score if np.nanmin(score) < np.nanmax(score) else np.full_like(score, np.nan)


def unit_of(log_height: FloatArray) -> FloatArray:
    """Return (..., 4): heights for both positions, 1 for both log sizes."""
    height = np.exp(log_height)
    one = np.ones_like(height)
    return np.stack([height, height, one, one], -1)


def units_of(video: Video, runs: list[IntArray]) -> FloatArray:
    """Return the unit (M, 4) of each run of rows: that of its median height."""
    if not runs:
        return np.zeros((0, 4))
    count = np.array([len(run) for run in runs])
    value = video.rows.o[np.concatenate(runs), 3]
    value = value[np.lexsort((value, np.repeat(np.arange(len(runs)), count)))]
    begin = np.cumsum(count) - count
    low, high = value[begin + (count - 1) // 2], value[begin + count // 2]
    return unit_of((low + high) / 2)
