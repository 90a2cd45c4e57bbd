"""A shake that all boxes share is taken off them, and put back; what one does alone is its own."""

from __future__ import annotations

import numpy as np
import pytest

from inference.tasks.tracking.batch import TrackerSettings
from inference.tasks.tracking.steady import at_rest
from inference.tasks.tracking.track import track
from ppl_models.data.motchallenge import Boxes
from tests.clips import overlap, walkers

LENGTH = 40
SIZE = (1920.0, 1080.0)


def clip(size: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Detections (T, K, 4) and truth of three walkers under a camera that shakes, and its path."""
    made = walkers(length=LENGTH, drop=0.1, seed=seed)
    shake = size * np.random.default_rng(seed).standard_normal((LENGTH, 2))
    shake -= shake[0]
    boxes, truth = made.boxes.padded(1, LENGTH), made.truth.copy()
    boxes[..., :2] += shake[:, None]
    truth[..., :2] += shake
    return boxes, truth, shake


def test_a_shake_is_found_and_still_boxes_are_left_alone() -> None:
    boxes, _, shake = clip(15.0)
    rest = at_rest(boxes, SIZE)
    assert rest is not None and rest.cost > 0
    found, true = (np.diff(x[:, :2], axis=0) for x in (rest.path, shake))  # a drift is anybody's
    assert all(np.corrcoef(found[:, i], true[:, i])[0, 1] > 0.95 for i in (0, 1))
    assert (np.isnan(rest.boxes) == np.isnan(boxes)).all()
    assert at_rest(clip(0.0)[0], SIZE) is None
    assert at_rest(np.full((5, 1, 4), np.nan), None) is None


def test_shaken_boxes_are_followed_better_than_by_a_camera_that_stands() -> None:
    boxes, truth, shake = clip(15.0)
    detections = [Boxes.from_padded(boxes)]
    [moves] = track(detections, objects=3, frames=(1, LENGTH))
    [stands] = track(
        detections, objects=3, frames=(1, LENGTH), settings=TrackerSettings(camera=False)
    )
    assert not stands.camera.any() and np.corrcoef(moves.camera[:, 0], shake[:, 0])[0, 1] > 0.95
    assert moves.elbo > stands.elbo + 10 and moves.noise < stands.noise
    assert overlap(moves.boxes, truth).mean() > overlap(stands.boxes, truth).mean() + 0.02


def test_a_sequence_is_the_same_alone_and_beside_others() -> None:
    clips = [Boxes.from_padded(clip(size, seed)[0]) for size, seed in ((0.0, 1), (15.0, 0))]
    ranges = [(1, 30), (1, LENGTH)]
    together = track(clips, objects=3, frames=ranges)
    for one, frames, both in zip(clips, ranges, together, strict=True):
        [alone] = track([one], objects=3, frames=[frames])
        assert alone.elbo == pytest.approx(both.elbo, abs=1e-6)
        np.testing.assert_allclose(alone.mean, both.mean, atol=1e-6)
        np.testing.assert_allclose(alone.camera, both.camera, atol=1e-9)


def test_one_object_has_no_camera_and_svi_keeps_it() -> None:
    boxes, _, _ = clip(15.0)
    [alone] = track([Boxes.from_padded(boxes[:, :1])], objects=1, frames=(1, LENGTH))
    assert not alone.camera.any()
    settings = TrackerSettings(steps=2)
    detections = [Boxes.from_padded(boxes)]
    [svi] = track(detections, objects=3, frames=(1, LENGTH), method="svi", settings=settings)
    assert svi.camera.any() and np.isfinite(svi.elbo)
