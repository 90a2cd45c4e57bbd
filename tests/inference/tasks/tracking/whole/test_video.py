"""What is read of a video's detections."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inference.tasks.tracking.whole.video import LOG_SIZES, Video, known_scores, unit_of
from tests.inference.tasks.tracking.whole.made import IMAGE, boxes_of, video_of

NAN = math.nan


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ([0.2, 0.9], [0.2, 0.9]),
        ([-1, -1], [NAN, NAN]),
        ([-1, 0.3, 0.8], [NAN, 0.3, 0.8]),
        ([NAN, 0.3, 0.8], [NAN, 0.3, 0.8]),
        ([0.5, 0.5], [NAN, NAN]),
        ([NAN, 0.5, 0.5], [NAN, NAN, NAN]),
        ([0, 0], [NAN, NAN]),
        ([NAN], [NAN]),
        ([0.7], [NAN]),
        ([0, 1], [0, 1]),
        ([], []),
    ],
)
def test_scores_that_say_nothing_are_none(given: list[float], read: list[float]) -> None:
    score = np.array(given)
    kept = score.copy()
    assert np.array_equal(known_scores(score), np.array(read), equal_nan=True)
    assert np.array_equal(score, kept, equal_nan=True)


def test_rows_of_each_frame_are_between_bounds() -> None:
    boxes = boxes_of([(12, 5, 5), (10, 1, 1), (12, 6, 6), (14, 9, 9), (9, 0, 0), (16, 7, 7)])
    video = Video(boxes, 10, 15, IMAGE, 25.0)
    assert video.length == 6 and video.first == 10
    assert video.rows.frame.tolist() == [0, 2, 2, 4]
    assert video.bounds.tolist() == [0, 1, 1, 3, 3, 4, 4]
    assert len(video.boxes) == 4 and np.allclose(video.rows.o[:, 0], [1, 5, 6, 9])


def test_units_are_heights_for_positions() -> None:
    video = video_of(boxes_of([(0, 10, 20, 30.0, 80.0)]), 1)
    assert np.allclose(video.rows.o, [[10, 20, np.log(30), np.log(80)]])
    assert np.allclose(video.rows.unit, [[80, 80, 1, 1]])
    assert unit_of(np.zeros((2, 3))).shape == (2, 3, 4)


def test_another_rate_is_another_video() -> None:
    video = video_of(boxes_of([(0, 1, 1)]), 3)
    bounds = video.bounds
    slow = video.at_rate(5.0)
    assert (video.rate, slow.rate) == (25.0, 5.0)
    assert slow.rows is video.rows and np.array_equal(slow.bounds, bounds)


def test_anywhere_is_uniform_over_the_image_and_the_usual_sizes() -> None:
    assert video_of(boxes_of([]), 1).log_anywhere == pytest.approx(
        -math.log(IMAGE[0] * IMAGE[1] * LOG_SIZES)
    )
    empty = video_of(boxes_of([]), 4)
    assert empty.bounds.tolist() == [0] * 5 and empty.rows.o.shape == (0, 4)
