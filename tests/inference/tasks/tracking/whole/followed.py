"""Videos that are followed whole, and what is asked of every answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from inference.tasks.tracking import LiveTracks, track
from ppl_models.data import simulate_scenes
from ppl_models.data.motchallenge import Boxes
from tests.inference.tasks.tracking.whole.made import IMAGE, boxes_of, scored, walk

[SCENE] = simulate_scenes(1, length=80, fps=25, people=6, camera="still", seed=3)


ONE = scored(boxes_of(walk(range(1, 31), noise=1)))


PARTS = ("object", "frame", "mean", "sd", "present", "seen", "detection")


def follow(boxes: Boxes, **options: Any) -> LiveTracks:
    """Follow one sequence, at 25 frames a second if nothing else is said."""
    [found] = track([boxes], **({"rate": 25.0, "image_size": IMAGE} | options))
    assert found.object.tolist() == sorted(found.object.tolist())
    assert all(len(getattr(found, part)) == len(found.object) for part in PARTS)
    assert np.isfinite(found.mean).all() and (found.sd > 0).all()
    assert ((found.present >= 0) & (found.present <= 1 + 1e-9)).all()
    return found


def equal(a: LiveTracks, b: LiveTracks) -> bool:
    """Whether two answers have the same numbers, but for rows of detections."""
    return all(np.allclose(getattr(a, part), getattr(b, part)) for part in PARTS[:-1])


def owners(found: LiveTracks, source: np.ndarray) -> list[set[int]]:
    """The objects that have detections of each source (R), detections in the order of frames."""
    owner = found.assignment
    return [set(owner[source == n].tolist()) - {0} for n in np.unique(source[source >= 0])]


def crossing() -> tuple[Boxes, np.ndarray]:
    """Two who pass each other, and whose detections are whose."""
    right = walk(range(1, 61), 100.0, 300.0, (6.0, 0.0), 2.0)
    left = walk(range(1, 61), 466.0, 312.0, (-6.0, 0.0), 2.0, seed=1)
    rows = [row for pair in zip(right, left, strict=True) for row in pair]
    return scored(boxes_of(rows)), np.tile([0, 1], 60)
