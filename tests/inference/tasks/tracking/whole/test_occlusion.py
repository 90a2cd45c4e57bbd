"""Shares of boxes behind others, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from inference.tasks.tracking.whole.candidates import Links
from inference.tasks.tracking.whole.occlusion import cover_in_gaps, cover_of
from tests.inference.tasks.tracking.whole.made import boxes_of, video_of, walk

BOX = np.array([100.0, 100.0, 40.0, 100.0])


@pytest.mark.parametrize(
    ("other", "share"),
    [
        ((120.0, 150.0), 1.0),  # the same box
        ((140.0, 160.0), 0.45),
        ((140.0, 146.0), 0.48),  # a bottom edge a little higher
        ((140.0, 140.0), 0.0),  # further away, since higher in the image
        ((160.0, 150.0), 0.0),  # side by side
        ((500.0, 300.0), 0.0),
    ],
)
def test_a_box_is_covered_by_a_nearer_one(other: tuple[float, float], share: float) -> None:
    video = video_of(boxes_of([(3, *other)]), 5)
    cover = cover_of(video, BOX[None], np.array([3]), np.array([True]))
    assert cover[0] == pytest.approx(share)
    assert cover_of(video, BOX[None], np.array([2]), np.array([True])) == 0  # another frame
    assert cover_of(video, BOX[None], np.array([3]), np.array([False])) == 0  # not an object


def test_of_several_the_one_that_covers_most_counts_whatever_the_order() -> None:
    video = video_of(boxes_of([(0, 140, 160), (0, 130, 155), (4, 120, 150)]), 5)
    frame = np.array([4, 0, 1, 4, 0])
    cover = cover_of(video, np.tile(BOX, (5, 1)), frame, np.ones(3, bool))
    assert np.allclose(cover, [1, 0.75 * 0.95, 0, 1, 0.75 * 0.95])
    assert cover_of(video, np.zeros((0, 4)), frame[:0], np.ones(3, bool)).shape == (0,)


def test_many_boxes_of_a_frame_are_looked_at_in_portions() -> None:
    video = video_of(boxes_of([(0, 120, 150)]), 1)
    boxes = np.tile(BOX, (5000, 1)) + np.arange(5000)[:, None] * [0.001, 0, 0, 0]
    cover = cover_of(video, boxes, np.zeros(5000, np.int64), np.array([True]))
    assert np.allclose(cover, (1 - np.arange(5000) * 0.001 / 40).clip(0))


def test_a_gap_is_looked_at_along_the_straight_line() -> None:
    """Behind a wall in the whole gap, half of it, or not; a gap of one frame has nothing in it."""
    frames = [*range(10), *range(30, 40)]
    for wall, low, high in ((range(40), 1, 1), (range(20, 40), 0.5, 0.5), (range(0), 0, 0)):
        rows = walk(frames, speed=(0, 0)) + [(t, 100.0, 310.0, 80.0, 160.0) for t in wall]
        video = video_of(boxes_of(rows), 40)
        person = np.flatnonzero(video.rows.o[:, 3] < np.log(120))
        runs = [person[:10], person[10:]]
        pair = Links(np.array([0]), np.array([1]), np.array([21]), np.zeros(1))
        cover = cover_in_gaps(video, runs, pair, np.ones(len(rows), bool))
        assert low <= cover[0] <= high
        short = pair._replace(gap=np.array([1]))
        assert cover_in_gaps(video, runs, short, np.ones(len(rows), bool)) == 0
