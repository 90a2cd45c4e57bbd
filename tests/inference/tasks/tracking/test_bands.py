"""Bands of boxes that know that errors last."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.tasks.tracking import TrackerSettings, track
from inference.tasks.tracking.bands import lasting_variance, learn_from_batch
from inference.tasks.tracking.whole.errors import ErrorLaw
from ppl_models.data.motchallenge import Boxes

LENGTH = 120


def clips(lasting: float, count: int = 3, seed: int = 0) -> list[np.ndarray]:
    """Detections (T, 2, 4) of two who walk, with errors that last, in shares of the height 100."""
    rng, kept = np.random.default_rng(seed), np.exp(-1 / (30 * 0.4))
    found = []
    for _ in range(count):
        error = np.zeros((LENGTH, 2, 4))
        error[0] = rng.standard_normal((2, 4))
        for t in range(1, LENGTH):
            push = np.sqrt(1 - kept**2) * rng.standard_normal((2, 4))
            error[t] = kept * error[t - 1] + push
        error = lasting * error + 0.01 * rng.standard_normal(error.shape)
        size = np.array([40.0, 100.0]) * np.exp(error[..., 2:])
        time = np.arange(LENGTH)[:, None]
        centre = np.stack([200 + 2.0 * time, 900 - 2.0 * time], -1).reshape(LENGTH, 2, 1)
        place = np.concatenate([centre, np.full_like(centre, 300.0) + [[0], [250]]], -1)
        found.append(np.concatenate([place + 100 * error[..., :2] - size / 2, size], -1))
    return found


OWNERS = np.tile(np.eye(2), (LENGTH, 1, 1))


def test_errors_that_last_are_learned_from_all_sequences() -> None:
    boxes = clips(0.05)
    law = learn_from_batch(boxes, [OWNERS] * len(boxes))
    assert law.lasting == pytest.approx((0.05,) * 4, rel=0.3)
    small = learn_from_batch(clips(0.0), [OWNERS] * len(boxes))
    assert max(small.lasting[:2]) < 0.012


def test_what_is_nobody_s_or_not_there_is_not_read() -> None:
    boxes, owners = clips(0.05), OWNERS.copy()
    before = learn_from_batch(boxes, [OWNERS] * len(boxes))
    gone = [box.copy() for box in boxes]
    for box in gone:
        box[40:50, 0] = np.nan
    owners[60:70, 1] = 0.5  # unsure
    after = learn_from_batch(gone, [owners] * len(boxes))
    assert after.lasting == pytest.approx(before.lasting, rel=0.15)
    none = learn_from_batch([np.full((5, 1, 4), 10.0)], [np.zeros((5, 1, 2))])
    assert np.allclose(none.lasting, ErrorLaw().lasting)


def test_the_variance_is_in_heights_of_the_object() -> None:
    law = replace(ErrorLaw(), lasting=(0.1, 0.2, 0.3, 0.4), bias=(0.0, 1.0, 0.0, 0.0))
    variance = lasting_variance(law, np.log(np.array([[50.0, 100.0]])))
    assert np.allclose(variance[0, 0], [25, 200, 0.09, 0.16])
    assert np.allclose(variance[0, 1], [100, 800, 0.09, 0.16])


def test_bands_are_wider_than_the_mixture_s_own_and_boxes_the_same() -> None:
    detections = [Boxes.from_padded(clip) for clip in clips(0.05, count=1)]
    wide, own = (
        track(
            detections,
            objects=2,
            prior="linear",
            settings=TrackerSettings(lasting_errors=lasting, camera=False),
        )[0]
        for lasting in (True, False)
    )
    assert np.array_equal(wide.mean, own.mean) and wide.elbo == own.elbo
    assert (wide.sd > own.sd).all() and np.median(wide.sd / own.sd) > 1.5
