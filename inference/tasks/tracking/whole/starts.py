"""Where tracklets start: the rival explanation of a detection, or of a tracklet's first one.

What a match or a link has to beat is not a birth anywhere in the image, but whatever else begins
there: other people who come back into sight, pieces of them, clutter. Its intensity is read off the
video: the starts that there are, smoothed over their surroundings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from inference.tasks.tracking.kalman import FloatArray, IntArray
from inference.tasks.tracking.whole.video import Video

_TOGETHER = 256


@dataclass(frozen=True)
class Surroundings:
    """How far a start speaks for others.

    Attributes
    ----------
    distance : float
        Standard deviation, in heights of the box that is asked about.
    log_height, log_shape : float
        Standard deviations of log height, and of log width less log height.
    anywhere : float
        Share of starts that are as likely anywhere.
    """

    distance: float = 1.0
    log_height: float = 0.3
    log_shape: float = 0.3
    anywhere: float = 0.05


def intensity(
    video: Video,
    o: FloatArray,
    starts: FloatArray,
    weight: FloatArray,
    near: Surroundings,
    own: IntArray | None = None,
) -> FloatArray:
    """Return the log density (A), a frame, of starts at boxes ``o`` (A, 4).

    Parameters
    ----------
    video : Video
        Whose frames the starts are of.
    o : FloatArray
    starts : FloatArray
        (M, 4): first boxes.
    weight : FloatArray
        (M): how much each counts.
    near : Surroundings
    own : IntArray, optional
        (A): the start that each box is itself, which does not speak for it; -1 for none.
    """
    found = np.zeros(len(o))
    for begin in range(0, len(o), _TOGETHER):
        some = slice(begin, begin + _TOGETHER)
        kernel = _kernel(o[some], starts, near)
        if own is not None:
            rows = np.flatnonzero(own[some] >= 0)
            kernel[rows, own[some][rows]] = 0.0
        found[some] = kernel @ weight
    width, height = video.image_size
    shapes = math.exp(-video.log_anywhere) / (width * height)
    uniform = near.anywhere * max(float(weight.sum()), 1.0) / (width * height * shapes)
    density: FloatArray = np.log((found + uniform) / video.length)
    return density


def _kernel(o: FloatArray, starts: FloatArray, near: Surroundings) -> FloatArray:
    """Density of boxes (A) about starts (M): (A, M)."""
    spread = (near.distance * np.exp(o[:, 3]))[:, None]
    shape = (o[:, 2] - o[:, 3])[:, None] - (starts[:, 2] - starts[:, 3])
    square = ((o[:, :2, None] - starts[:, :2].T) ** 2).sum(1) / spread**2
    square += ((o[:, 3, None] - starts[:, 3]) / near.log_height) ** 2
    square += (shape / near.log_shape) ** 2
    volume = (2 * math.pi) ** 2 * spread**2 * near.log_height * near.log_shape
    density: FloatArray = np.exp(-0.5 * square) / volume
    return density


def later_starts(video: Video, runs: list[IntArray]) -> IntArray:
    """Return the first row of each run that begins after the video does."""
    rows = np.array([run[0] for run in runs], np.int64)
    return rows[video.rows.frame[rows] > 0]
