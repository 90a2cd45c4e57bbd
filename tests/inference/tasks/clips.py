"""Clips with a known truth, for tests of the starting paths."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from inference.tasks.tracking.kalman import FloatArray
from inference.tasks.tracking.tracklets import Clip

WIDTH, HEIGHT = 40.0, 100.0
IMAGE = (1920.0, 1080.0)
LOG_CLUTTER = -math.log(IMAGE[0] * IMAGE[1] * 4.0 * 4.0)
SIZE = np.array([WIDTH, HEIGHT, 1.0, 1.0])


def straight(
    starts: Sequence[tuple[float, float]], speeds: Sequence[tuple[float, float]], frames: int
) -> FloatArray:
    """Boxes (N, T, 4) of objects that walk straight on."""
    at = np.arange(frames)[:, None]
    places = [np.array(s) + at * np.array(v) for s, v in zip(starts, speeds, strict=True)]
    shape = np.tile(np.log([WIDTH, HEIGHT]), (frames, 1))
    return np.stack([np.concatenate([place, shape], 1) for place in places])


def clip_of(frames: Sequence[Sequence[FloatArray]], rng: np.random.Generator | None = None) -> Clip:
    """Clip of the detections of each frame, in any order if there is an ``rng``; NaN is padding."""
    places = max([1, *(len(f) for f in frames)])
    o = np.full((len(frames), places, 4), np.nan)
    mask = np.zeros((len(frames), places), bool)
    for t, boxes in enumerate(frames):
        order = range(places) if rng is None else rng.permutation(places)
        for slot, box in zip(order, boxes, strict=False):
            o[t, slot], mask[t, slot] = box, True
    size = np.where(mask[..., None], SIZE, np.nan)
    return Clip(o, mask, size, LOG_CLUTTER)


def detected(truth: FloatArray, there: FloatArray | None = None) -> list[list[FloatArray]]:
    """Detections of boxes (N, T, 4), without noise, where ``there`` (N, T) is not 0."""
    there = np.ones(truth.shape[:2]) if there is None else there
    return [
        [box[t] for box, here in zip(truth, there, strict=True) if here[t]]
        for t in range(truth.shape[1])
    ]


def anywhere(count: int, rng: np.random.Generator) -> list[FloatArray]:
    """Clutter: boxes anywhere in the image."""
    places = rng.uniform(0, IMAGE, (count, 2))
    shapes = np.log([WIDTH, HEIGHT]) + rng.normal(0, 0.3, (count, 2))
    return list(np.concatenate([places, shapes], 1))
