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
    for begin in range(0, len(o) if len(starts) else 0, _TOGETHER):
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
    """Density of boxes (A) about starts (M): (A, M); its quadratic form is one matrix product."""
    narrow = np.exp(-2 * o[:, 3]) / near.distance**2
    sizes = 1 / np.array([near.log_shape, near.log_height]) ** 2
    mine, theirs = (np.stack([x[:, 2] - x[:, 3], x[:, 3]], 1) for x in (o, starts))
    middle = starts[:, :2].mean(0)  # about which squares of places are small
    here, there = o[:, :2] - middle, starts[:, :2] - middle
    left = [
        (narrow * (here**2).sum(1) + mine**2 @ sizes)[:, None],
        -2 * narrow[:, None] * here,
        narrow[:, None],
        -2 * sizes * mine,
        np.ones((len(o), 1)),
    ]
    right = [
        np.ones((len(starts), 1)),
        there,
        (there**2).sum(1)[:, None],
        theirs,
        (theirs**2 @ sizes)[:, None],
    ]
    square = np.concatenate(left, 1) @ np.concatenate(right, 1).T
    volume = (2 * math.pi) ** 2 * near.log_height * near.log_shape
    density: FloatArray = np.exp(-0.5 * square) * (narrow / volume)[:, None]
    return density


def later_starts(video: Video, runs: list[IntArray]) -> IntArray:
    """Return the first row of each run that begins after the video does."""
    rows = np.array([run[0] for run in runs], np.int64)
    return rows[video.rows.frame[rows] > 0]
