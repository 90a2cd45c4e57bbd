"""`track` without ``objects``: what it takes, and what is named as a mistake."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inference.tasks.tracking import TrackerSettings, Tracks, WholeSettings, track
from ppl_models.errors import InputError
from tests.cures import tried
from tests.inference.tasks.tracking.whole.followed import (
    ONE,
    equal,
    follow,
)
from tests.inference.tasks.tracking.whole.made import boxes_of


def test_arrays_are_as_good_as_boxes() -> None:
    arrays = (ONE.frame, ONE.ltwh, ONE.score)
    assert equal(follow(ONE), follow(arrays))  # type: ignore[arg-type]
    lists = tuple(part.tolist() for part in arrays)
    assert equal(follow(ONE), follow(lists))  # type: ignore[arg-type]
    [found] = track([(ONE.frame, ONE.ltwh, ONE.score)], objects=1, prior="linear", iterations=2)
    assert isinstance(found, Tracks)


@pytest.mark.parametrize("rate", [25, np.float32(25), [25], (25.0,), np.array([25]), np.array(25)])
def test_rates_of_any_numbers(rate: Any) -> None:
    assert follow(ONE, rate=rate).rate == 25


BOX = [[1.0, 2.0, 3.0, 4.0]]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (([1, 2], BOX, [0.5]), "shapes.*a row to each box"),
        (([1], BOX[0], [0.5]), "shapes.*a row to each box"),
        ((1, BOX, [0.5]), "shapes.*a row to each box"),
        (([1], BOX, None), "shapes.*a row to each box"),
        (([[1]], BOX, [0.5]), "shapes.*a row to each box"),
        (([1.5], BOX, [0.5]), "fraction.*whole numbers"),
        (([np.nan], BOX, [0.5]), "no number.*number frames from 1"),
        (([1e300], BOX, [0.5]), "no number.*number frames from 1"),
        ((["a"], BOX, [0.5]), "arrays of numbers"),
        (([1], BOX, ["high"]), "arrays of numbers"),
        (([1], [[1.0, 2.0, 3.0, -4.0]], [0.5]), "positive size"),
        (([1], [[np.nan, 2.0, 3.0, 4.0]], [0.5]), "finite"),
    ],
)
def test_arrays_that_are_no_boxes_are_named(arrays: Any, message: str) -> None:
    with pytest.raises(InputError, match=rf"(?s)detections\[1\].*{message}"):
        track([(ONE.frame, ONE.ltwh, ONE.score), arrays])


@pytest.mark.parametrize(
    ("options", "message", "mended"),
    [
        ({"method": "vem"}, "method.*without objects", {"objects": 1, "method": "vem"}),
        ({"prior": "linear"}, "prior.*without objects", {"objects": 1, "prior": "linear"}),
        ({"clutter": False}, "clutter.*without objects", {"objects": 1, "clutter": False}),
        ({"iterations": 2}, "iterations.*without objects", {"objects": 1, "iterations": 2}),
        ({"seed": 0}, "seed.*without objects", {"objects": 1, "seed": 0}),
        ({"objects": 1, "rate": 25}, "rate.*leave out rate, or objects", {"rate": 25}),
        ({"objects": 1, "progress": print}, "progress.*leave out progress", {"objects": 1}),
        ({"objects": 1, "directory": "x"}, "directory.*leave out directory", {"objects": 1}),
        ({"settings": TrackerSettings()}, "settings.*WholeSettings", {}),
        ({"objects": 1, "settings": WholeSettings()}, "settings.*TrackerSettings", {}),
        ({"rate": 0}, "rate.*above 0", {"rate": 30}),
        ({"rate": -1.0}, "rate.*above 0", {"rate": None}),
        ({"rate": np.nan}, "rate.*above 0", {"rate": 30}),
        ({"rate": np.inf}, "rate.*above 0", {"rate": 30}),
        ({"rate": "30"}, "rate.*above 0", {"rate": 30}),
        ({"rate": True}, "rate.*above 0", {"rate": 30}),
        ({"rate": ["30"]}, "rate.*above 0", {"rate": [30]}),
        ({"rate": [[30]]}, "rate.*above 0", {"rate": [30]}),
        ({"rate": [30, 30]}, "rate.*2 rates.*one, or 1", {"rate": [30]}),
        ({"rate": []}, "rate.*0 rates.*one, or 1", {"rate": [None]}),
        ({"image_size": (0, 100)}, "image_size.*both positive", {"image_size": (1920, 1080)}),
        ({"image_size": (100,)}, "image_size.*both positive", {"image_size": None}),
        ({"image_size": "640x480"}, "image_size.*both positive", {"image_size": (640, 480)}),
        ({"frames": (5, 2)}, "frames.*1 <= first <= last", {"frames": (2, 5)}),
        ({"frames": (0, 2)}, "frames.*1 <= first <= last", {"frames": (1, 2)}),
        ({"frames": "1:6"}, "frames.*two whole numbers", {"frames": (1, 60)}),
        ({"frames": (1.5, 6)}, "frames", {"frames": [(1, 6)]}),
        ({"frames": [(1, 2), (1, 2)]}, "frames.*2 ranges", {"frames": [(1, 2)]}),
        (
            {"settings": WholeSettings(window=10, overlap=10)},
            "window.*0 <= overlap < window",
            {"settings": WholeSettings(window=600, overlap=120)},
        ),
    ],
)
def test_what_does_not_go_together_is_named_and_the_cure_cures(
    options: dict[str, Any], message: str, mended: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=f"(?s){message}") as error:
        track([ONE], **options)
    for setting in tried(error.value, WholeSettings=WholeSettings, TrackerSettings=TrackerSettings):
        track([ONE], **options | {"settings": setting})
    quick = {"iterations": 2, "prior": "linear"} if "objects" in mended else {}
    assert track([ONE], **quick | mended)


@pytest.mark.parametrize("detections", [[], ONE, ["a.txt"], (ONE.frame, ONE.ltwh, ONE.score)])
def test_what_are_no_sequences_is_named(detections: Any) -> None:
    with pytest.raises(InputError, match="(?s)detections.*Boxes"):
        track(detections)


def test_no_detection_and_no_frames_are_named() -> None:
    with pytest.raises(InputError, match=r"(?s)no detections.*frames=\(1, T\)"):
        track([boxes_of([])])


def test_an_option_that_does_not_exist_is_refused_as_python_does() -> None:
    for objects in (None, 1):
        with pytest.raises(TypeError, match="unexpected keyword argument 'speed'"):
            track([ONE], objects=objects, speed=3)  # type: ignore[call-overload]
