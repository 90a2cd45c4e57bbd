"""A camera that sets off at once breaks all tracklets, and is found all the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.tasks.tracking.whole.camera import CameraLaw
from inference.tasks.tracking.whole.camera_rounds import steadied
from inference.tasks.tracking.whole.chains import Design, find_tracklets
from inference.tasks.tracking.whole.errors import ErrorLaw
from inference.tasks.tracking.whole.video import Video
from tests.inference.tasks.tracking.whole.made import boxes_of, video_of, walk

LENGTH, SINCE = 60, 25


def street(pan: float) -> Video:
    """Eight who walk, 100 high; from frame `SINCE` on the camera pans so many pixels a frame."""
    rows = [
        row
        for i in range(8)
        for row in walk(range(LENGTH), 110.0 * i + 60, 60.0 * i + 80, (i - 3.5, 0), 1.0, seed=i)
    ]
    shift = pan * np.maximum(np.arange(LENGTH) - SINCE, 0)
    return video_of(boxes_of(sorted((t, x - shift[int(t)], y) for t, x, y in rows)), LENGTH)


@pytest.fixture(scope="module")
def panned() -> Video:
    return street(20.0)


def test_a_camera_that_sets_off_is_found(panned: Video) -> None:
    """Without it each of eight tracklets breaks; what is left of its path is a line."""
    before = find_tracklets(panned, Design())
    camera, runs = steadied(panned, Design(), ErrorLaw(), CameraLaw())
    assert camera is not None and len(before) >= 15 and len(runs) == 8
    true = -20.0 * np.maximum(np.arange(LENGTH) - SINCE, 0)
    left = camera.path[:, 0] - true
    time = np.arange(LENGTH)
    bent = left - np.polyval(np.polyfit(time, left, 1), time)
    assert np.abs(bent).max() < 25 and np.ptp(true) > 600


def test_a_camera_that_stands_leaves_all_as_it_is() -> None:
    video = street(0.0)
    camera, runs = steadied(video, Design(), ErrorLaw(), CameraLaw())
    assert camera is None and len(runs) == 8
    assert all(map(np.array_equal, runs, find_tracklets(video, Design())))


def test_a_camera_that_is_known_to_stand_is_not_looked_for(panned: Video) -> None:
    camera, runs = steadied(panned, Design(), ErrorLaw(), None)
    assert camera is None and len(runs) >= 15


def test_a_camera_must_gain_enough(panned: Video) -> None:
    law = replace(CameraLaw(), least=1e6)
    assert steadied(panned, Design(), ErrorLaw(), law).camera is None
