from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from inference.tasks.tracking.batch import TrackerSettings
from inference.tasks.tracking.track import track
from ppl_models.errors import InputError
from tests.clips import walkers


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"detections": []}, "detections.*one or more"),
        ({"objects": 0}, "objects.*1 or more"),
        ({"objects": -2}, "objects.*1 or more"),
        ({"iterations": 0}, "iterations.*1 or more"),
        ({"method": "mcmc"}, "method.*one of vem, svi"),
        ({"prior": "magic"}, "prior.*one of linear, srnn, deepar"),
        ({"frames": (5, 2)}, "frames.*1 <= first <= last"),
        ({"frames": (0, 2)}, "frames.*1 <= first <= last"),
        ({"frames": [(1, 2), (1, 2)]}, "frames.*2 ranges.*one, or 1"),
        ({"detections": "no boxes"}, "clip.*no detections.*frames"),
        ({"detections": "one"}, "detections.*Boxes.*a list of Boxes"),
        ({"detections": ["a.txt"]}, "detections.*a str in it.*read_boxes"),
        ({"objects": 2.5}, "objects.*2.5.*whole number"),
        ({"objects": "3"}, "objects.*'3'.*whole number"),
        ({"iterations": 2.5}, "iterations.*whole number"),
        ({"frames": ()}, "frames.*0 ranges"),
        ({"frames": (1, 2, 3)}, "frames.*3 ranges"),
        ({"frames": [(1, 2, 3)]}, "frames.*two whole numbers"),
        ({"frames": "1:6"}, "frames.*'1:6'.*two whole numbers"),
        ({"image_size": (1920,)}, "image_size.*both positive"),
        ({"image_size": (0, 1080)}, "image_size.*both positive"),
        ({"image_size": (math.nan, 1080)}, "image_size.*both positive"),
        ({"image_size": "1920x1080"}, "image_size.*both positive"),
    ],
)
def test_bad_arguments_are_named(settings: dict[str, Any], message: str) -> None:
    boxes = walkers(4, 2).boxes
    if settings.get("detections") == "no boxes":
        settings = {"detections": [boxes.between(90, 99)]}
    if settings.get("detections") == "one":
        settings = {"detections": boxes}
    settings = {"detections": [boxes], "objects": 2} | settings
    with pytest.raises(InputError, match=f"(?s){message}"):
        track(settings.pop("detections"), **settings)


@pytest.mark.parametrize(
    ("corner", "value"), [(0, math.nan), (1, math.inf), (2, -3.0), (2, math.nan), (3, 0.0)]
)
def test_boxes_without_a_place_or_a_size_are_named(corner: int, value: float) -> None:
    boxes = walkers(4, 2).boxes
    boxes.ltwh[3, corner] = value
    with pytest.raises(InputError, match="(?s)clip.*in frame 2.*positive size"):
        track([boxes], objects=2)


@pytest.mark.parametrize(
    "settings",
    [
        {"noise": 0.0},
        {"noise": -0.04},
        {"noise": math.nan},
        {"clutter_weight": 1.5},
        {"clutter_weight": -0.5},
        {"steps": 0},
        {"iterations": 0},
        {"learning_rate": -1.0},
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, Any]) -> None:
    [name] = settings
    with pytest.raises(InputError, match=name):
        TrackerSettings(**settings)


def test_numpy_s_numbers_will_do() -> None:
    boxes = walkers(6, 2).boxes
    frames = (np.int64(2), np.int64(5))
    [tracks] = track([boxes], objects=np.int64(2), frames=frames, prior="linear")  # type: ignore[arg-type]
    assert tracks.mean.shape == (2, 4, 4)
