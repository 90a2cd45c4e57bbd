"""Boxes made by hand, and videos of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from inference.tasks.tracking.kalman import Belief
from inference.tasks.tracking.whole.law import MotionLaw
from inference.tasks.tracking.whole.scores import Learned, ScoreLaw
from inference.tasks.tracking.whole.video import Video
from ppl_models.data.motchallenge import Boxes

FloatArray = NDArray[np.float64]
IMAGE = (1000.0, 600.0)
PARTS = ("s", "z", "ss", "sz", "zz")


def boxes_of(rows: list[tuple[float, ...]], score: float = -1.0) -> Boxes:
    """Detections (frame, centre x, centre y), 40 wide and 100 high; or with sizes of their own."""
    parts = np.array([(*row, 40.0, 100.0)[:5] for row in rows]).reshape(-1, 5)
    ltwh = np.concatenate([parts[:, 1:3] - parts[:, 3:] / 2, parts[:, 3:]], -1)
    none = np.full(len(parts), -1)
    return Boxes(parts[:, 0].astype(np.int64), none, ltwh, np.full(len(parts), score))


def scored(boxes: Boxes, low: float = 0.85, high: float = 0.95, seed: int = 0) -> Boxes:
    """The same boxes with scores between two limits."""
    return replace(boxes, score=np.random.default_rng(seed).uniform(low, high, len(boxes)))


def walk(
    frames: range | list[int],
    x: float = 100.0,
    y: float = 300.0,
    speed: tuple[float, float] = (2.0, 0.0),
    noise: float = 0.0,
    seed: int = 0,
) -> list[tuple[float, ...]]:
    """Rows of `boxes_of`, of one who is at (x, y) in frame 0; ``speed`` in pixels a frame."""
    error = noise * np.random.default_rng(seed).standard_normal((len(frames), 2))
    return [
        (t, x + speed[0] * t + dx, y + speed[1] * t + dy)
        for t, (dx, dy) in zip(frames, error.tolist(), strict=True)
    ]


def learned_of(good: NDArray[np.bool_]) -> Learned:
    """What scores say where those of some detections speak for an object, and of others against."""
    law = np.array([[0.02, 0.98], [0.98, 0.02]])
    share = np.array([0.5, 0.45, 0.05])
    length = np.array([3.0, 0.4, 3.0])
    return Learned(ScoreLaw(num_bins=2), np.asarray(good).astype(np.int64), law, share, length)


def video_of(boxes: Boxes, length: int, rate: float = 25.0) -> Video:
    """A video of frames 0 to ``length`` - 1."""
    return Video(boxes, 0, length - 1, IMAGE, rate)


def drawn(law: MotionLaw, count: int, length: int, rate: float, seed: int) -> Boxes:
    """Detections of ``count`` objects drawn from a law, far apart, one a frame each."""
    rng, dt = np.random.default_rng(seed), 1 / rate
    unit = np.array([100.0, 100.0, 1.0, 1.0])
    state = np.stack([np.arange(count) * 2000.0 + 500, np.full(count, 3e4)], -1)
    s = np.concatenate([state, np.tile(np.log([40.0, 100.0]), (count, 1))], -1)
    z = np.asarray(law.speed) * unit * rng.standard_normal((count, 4))
    change, rows = np.asarray(law.change) * unit, []
    step = np.linalg.cholesky(np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]]))
    for t in range(length):
        error = np.where(rng.random(s.shape) < law.outliers, np.hypot(law.noise, law.spread), 0)
        error = np.where(error > 0, error, law.noise) * unit
        o = s + error * rng.standard_normal(s.shape)
        rows += [(t, *one[:2], *np.exp(one[2:])) for one in o.tolist()]
        push = step @ rng.standard_normal((2, count * 4))
        s, z = s + dt * z + change * push[0].reshape(s.shape), z + change * push[1].reshape(s.shape)
    return boxes_of(rows)


def same(a: Belief, b: Belief, tolerance: float = 1e-9) -> bool:
    """Whether two beliefs are the same."""
    return all(np.allclose(getattr(a, p), getattr(b, p), tolerance, tolerance) for p in PARTS)


def states(count: int = 5, seed: int = 0) -> Belief:
    """Beliefs (count, 4) with proper covariances."""
    draw = np.random.default_rng(seed)
    s, z, noise = draw.normal(size=(3, count, 4))
    ss, zz = draw.uniform(0.5, 2, (2, count, 4))
    return Belief(s, z, ss, 0.3 * noise.clip(-1, 1), zz)
