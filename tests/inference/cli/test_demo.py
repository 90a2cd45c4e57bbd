"""``ppl demo``: two whole videos, beside others' trackers."""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from inference.cli.demo import rivals
from inference.tasks import tracking
from ppl_models.data.motchallenge import Boxes
from ppl_models.errors import InputError
from tests.inference.cli.detections import FILES, Ppl, ppl

__all__ = ["ppl"]


VIDEOS = ("TUD-Stadtmitte", "TUD-Campus")


def test_the_demo_shows_pictures_and_the_table(ppl: Ppl, tmp_path: Path) -> None:
    code, out, err = ppl("demo", "--out", "shown")
    assert code == 0, err
    for name, counts in zip(VIDEOS, ((179, 10, 1156), (71, 8, 359)), strict=True):
        folder = tmp_path / "shown" / name
        assert {path.name for path in folder.iterdir()} == FILES | {"metrics.json"}
        metrics = json.loads((folder / "metrics.json").read_text())
        assert (metrics["frames"], metrics["objects"], metrics["boxes"]) == counts
    lines = [line.strip() for line in out.splitlines()]
    assert lines[-2:] == [f"shown/{name}/tracks.png" for name in VIDEOS]
    [ours] = [line.split()[-10:] for line in lines if line.startswith("ours, both")]
    [theirs] = [line.split()[-10:] for line in lines if line.startswith("the file's own")]
    # as good as the tracker that made the file, with a box in twenty to spare
    for column in (0, 2):
        assert float(ours[column]) > float(theirs[column]) - 5
    assert theirs[3] == "14"  # switches, 7 a video, as motmetrics' own page has


def test_the_demo_reads_no_identity(ppl: Ppl, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def record(detections: list[Any], **settings: Any) -> None:
        seen.append((detections[0], settings))
        raise InputError("stop here")

    monkeypatch.setattr(tracking, "track", record)
    assert ppl("demo")[0] == 1
    [(boxes, settings)] = seen
    assert (boxes.id == -1).all() and (boxes.score == -1).all() and len(boxes) == 749
    asked = {name: settings[name] for name in ("objects", "frames", "rate", "image_size")}
    sizes = {"rate": 25.0, "image_size": (640.0, 480.0)}
    assert asked == {"objects": None, "frames": [(1, 179)], **sizes}


class Nearest:
    """A tracker that calls each box by its place in the frame, and is sure of none at first."""

    def __init__(self, frame_rate: float) -> None:
        self.rate, self.frames = frame_rate, 0

    def update(self, found: Any) -> Any:
        self.frames += 1
        assert self.rate == 25 and (found.confidence == 1).all()
        ids = np.arange(len(found.xyxy)) if self.frames > 1 else None
        return SimpleNamespace(xyxy=found.xyxy, tracker_id=ids)


class Camera(Nearest):
    """One that would look at images."""

    def __init__(self, frame_rate: float, enable_cmc: bool = True) -> None:
        super().__init__(frame_rate)
        assert not enable_cmc


Camera.__name__ = "BoTSORTTracker"


def test_installed_trackers_run_on_the_same_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    package, boxes = ModuleType("trackers"), ModuleType("supervision")
    package.SORTTracker, package.BoTSORTTracker = Nearest, Camera  # type: ignore[attr-defined]
    boxes.Detections = lambda xyxy, **parts: SimpleNamespace(xyxy=xyxy, **parts)  # type: ignore[attr-defined]
    for one in (package, boxes):
        one.__spec__ = ModuleSpec(one.__name__, None)
        monkeypatch.setitem(sys.modules, one.__name__, one)
    ltwh = np.array([[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])
    video = Boxes(np.array([3, 5, 5]), np.full(3, -1), ltwh, np.full(3, -1.0))
    found = dict(rivals([video]))
    assert set(found) == {"SORT", "BoT-SORT"}
    for [tracks] in found.values():
        assert tracks.frame.tolist() == [5, 5] and tracks.id.tolist() == [0, 1]
        assert np.allclose(tracks.ltwh, ltwh[1:])


def test_without_that_package_there_are_no_rivals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inference.cli.demo.find_spec", lambda name: None)
    assert not list(rivals([]))
