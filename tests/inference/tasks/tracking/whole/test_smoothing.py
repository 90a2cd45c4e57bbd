"""The smoother against dense Gaussian conditioning: means and variances of all frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inference.tasks.tracking.whole.errors import ErrorLaw
from inference.tasks.tracking.whole.law import MATCHING, MotionLaw
from inference.tasks.tracking.whole.smoothing import UNKNOWN, smooth
from inference.tasks.tracking.whole.video import Video
from tests.inference.tasks.tracking.whole.made import boxes_of, video_of, walk

SEEN = [3, 4, 5, 9, 10, 17]
LENGTH = 22


def dense(video: Video, law: MotionLaw, errors: ErrorLaw, d: int) -> tuple[Any, Any]:
    """Coordinate d of one object in all frames: moments of a Gaussian of all positions at once.

    Positions are a first one, a first velocity's share, and twice integrated white noise.
    """
    rows, length = video.rows, video.length
    median = np.exp(np.median(rows.o[:, 3]))
    unit = np.array([median, median, 1.0, 1.0])[d]
    t = np.arange(length) / video.rate
    low, high = np.minimum(t[:, None], t), np.maximum(t[:, None], t)
    prior = (UNKNOWN * unit) ** 2 + np.outer(t, t) * (law.speed[d] * unit) ** 2
    prior = prior + (errors.change[d] * unit) ** 2 * low**2 * (3 * high - low) / 6
    cross = prior[rows.frame]
    lasting = (errors.lasting[d] * unit) ** 2 * np.exp(-(high - low) / errors.seconds)
    total = cross[:, rows.frame] + lasting[np.ix_(rows.frame, rows.frame)]
    total = total + (errors.white[d] * unit) ** 2 * np.eye(len(rows.frame))
    gain = np.linalg.solve(total, cross).T
    mean = rows.o[0, d] + gain @ (rows.o[:, d] - rows.o[0, d])
    bias = (errors.bias[d] * errors.lasting[d] * unit) ** 2
    return mean, np.diag(prior - gain @ cross) + bias


@pytest.mark.parametrize("rate", [5.0, 25.0])
@pytest.mark.parametrize("errors", [ErrorLaw(), ErrorLaw(lasting=(0.06,) * 4, seconds=1.0)])
def test_boxes_are_those_of_the_whole_gaussian_at_once(errors: ErrorLaw, rate: float) -> None:
    """Tiny outliers make the law Gaussian. Dense inversion loses digits, UNKNOWN being wide."""
    law = replace(MATCHING, outliers=1e-12)
    video = video_of(boxes_of(walk(SEEN, noise=2)), LENGTH, rate)
    mean, variance = smooth(video, [np.arange(len(SEEN))], law, errors)
    assert mean.shape == variance.shape == (1, LENGTH, 4)
    for d in range(4):
        expected, spread = dense(video, law, errors, d)
        assert np.allclose(mean[0, :, d], expected, rtol=0, atol=1e-3 * np.sqrt(spread.min()))
        assert np.allclose(variance[0, :, d], spread, rtol=1e-3)


def test_errors_that_last_leave_one_less_sure() -> None:
    """A hundred detections say little more of where one is than the error lasts long."""
    video = video_of(boxes_of(walk(range(100))), 100)
    bands = [
        smooth(video, [np.arange(100)], MATCHING, ErrorLaw(lasting=(a,) * 4, bias=(0.0,) * 4))[1]
        for a in (1e-3, 0.03)
    ]
    assert np.sqrt(bands[1][0, 50, 0]) > 2 * np.sqrt(bands[0][0, 50, 0])


def test_objects_side_by_side_are_smoothed_as_alone() -> None:
    near, far = walk(SEEN, noise=2), walk(range(8, 15), x=600, noise=2, seed=1)
    video = video_of(boxes_of(near + far), LENGTH)
    chains = [np.flatnonzero(video.rows.o[:, 0] < 500), np.flatnonzero(video.rows.o[:, 0] > 500)]
    both = smooth(video, chains, MATCHING, ErrorLaw())
    for n, chain in enumerate(chains):
        alone = smooth(video, [chain], MATCHING, ErrorLaw())
        assert all(np.allclose(both[i][n], alone[i][0]) for i in (0, 1))


def test_one_moves_on_as_one_did_and_is_less_sure_further_away() -> None:
    video = video_of(boxes_of(walk(range(15, 25))), 40)
    mean, variance = smooth(video, [np.arange(10)], MATCHING, ErrorLaw())
    assert np.allclose(mean[0, :, 0], 100 + 2 * np.arange(40), atol=10)
    assert np.allclose(mean[0, 15:25, 0], 100 + 2 * np.arange(15, 25), atol=1.5)
    assert (np.diff(variance[0, 24:, 0]) > 0).all() and (np.diff(variance[0, :15, 0]) < 0).all()


def test_one_detection_and_none() -> None:
    video = video_of(boxes_of(walk([4])), 9)
    mean, variance = smooth(video, [np.array([0])], MATCHING, ErrorLaw())
    assert np.allclose(mean, video.rows.o[0]) and (variance > 0).all()
    assert smooth(video, [], MATCHING, ErrorLaw())[0].shape == (0, 9, 4)
