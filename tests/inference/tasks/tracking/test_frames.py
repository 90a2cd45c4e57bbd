"""Boxes drawn into images: whose, how opaque, and where nothing is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.tasks.tracking import (
    LiveTracks,
    Tracks,
    draw_frames,
    find_images,
    remove_frames,
    track,
)
from ppl_models.errors import InputError
from tests.inference.tasks.tracking.pictured import images, numbered, pixels
from tests.inference.tasks.tracking.whole.made import boxes_of, scored

SIZE = (160, 120)
DRAWN = 30
"""A difference of a colour, of 255, that JPEG does not make by itself here."""


def live(**changes: object) -> LiveTracks:
    """One who stands in the frames 1 to 3: left 50, top 40, 30 wide, 60 high."""
    mean = np.tile([65.0, 70.0, np.log(30.0), np.log(60.0)], (3, 1))
    one, ones = np.ones(3, np.int64), np.ones(3)
    boxes = scored(boxes_of([(t, 65.0, 70.0) for t in (1, 2, 3)]))
    frame, detection = np.array([1, 2, 3]), np.arange(3)
    rows = one, frame, mean, 0.1 * mean, ones, ones, detection
    made = LiveTracks("a", 1, 3, 25.0, *rows, boxes, np.zeros((3, 4)))
    return replace(made, **changes)  # type: ignore[arg-type]


def changed(out: Path, shown: Path, frame: int) -> np.ndarray:
    """Most by which a colour of each pixel (H, W) is another one in the frame drawn."""
    name = f"{frame:06d}"
    return np.abs(pixels(out / f"{name}.jpg") - pixels(shown / f"{name}.png")).max(-1)


@pytest.fixture
def shown(tmp_path: Path) -> Path:
    return images(tmp_path / "shown", numbered(1, 4), SIZE)


def test_each_frame_has_its_boxes_and_the_rest_is_as_it_was(tmp_path: Path, shown: Path) -> None:
    steps: list[tuple[int, int]] = []
    tracks = live(frame=np.array([1, 2, 2]), object=np.array([1, 1, 2]))
    out = tmp_path / "out" / "frames"
    written = draw_frames(tracks, shown, out, lambda *step: steps.append(step))
    assert [path.name for path in written] == numbered(1, 3, ".jpg")
    assert steps == [(1, 3), (2, 3), (3, 3)]
    found = changed(out, shown, 1)
    assert found[60, 50] > DRAWN and found[60, 80] > DRAWN  # left and right edge
    assert found[40, 65] > DRAWN and found[100, 65] > DRAWN
    assert found[70, 65] < DRAWN and found[60, 120:].max() < DRAWN
    assert changed(out, shown, 3).max() < DRAWN


def test_who_is_unsure_is_faint_and_who_is_hardly_there_is_not_drawn(
    tmp_path: Path, shown: Path
) -> None:
    present = np.array([1.0, 0.5, 0.1])
    draw_frames(live(present=present), shown, tmp_path / "out")
    edge = [changed(tmp_path / "out", shown, t)[60:90, 50].mean() for t in (1, 2, 3)]
    assert edge[2] < DRAWN < edge[1] < 0.8 * edge[0]


def test_who_is_hidden_is_dashed(tmp_path: Path, shown: Path) -> None:
    draw_frames(live(seen=np.array([1.0, 0.2, 1.0])), shown, tmp_path / "out")
    for frame, share in ((1, 1.0), (2, 0.5)):
        edge = changed(tmp_path / "out", shown, frame)[45:95, 50] > DRAWN
        assert edge.mean() == pytest.approx(share, abs=0.2)  # dashes and gaps of 8 of 60 pixels


def test_boxes_far_outside_the_image_are_drawn_as_far_as_it_reaches(
    tmp_path: Path, shown: Path
) -> None:
    mean = np.array([[0, 0, 13.8, 13.8], [1e6, 1e6, 1.0, 1.0], [-1e6, 60, 1.0, 1.0]])
    for seen in (np.zeros(3), np.ones(3)):
        assert len(draw_frames(live(mean=mean, seen=seen), shown, tmp_path / "out")) == 3


def test_a_known_number_is_drawn_too(tmp_path: Path, shown: Path) -> None:
    boxes = boxes_of([(t, 65.0, 70.0, 30.0, 60.0) for t in (1, 3)])
    [tracks] = track([boxes], objects=1, prior="linear", iterations=2, frames=(1, 3))
    assert isinstance(tracks, Tracks)
    draw_frames(tracks, find_images(shown, 1, 3), tmp_path / "out")
    drawn = [changed(tmp_path / "out", shown, t)[42:98, 48:53].max(1) > DRAWN for t in (1, 2, 3)]
    assert drawn[0].all() and drawn[2].all()
    assert 0.2 < drawn[1].mean() < 0.9  # no detection: dashed


def test_nobody_is_drawn_too(tmp_path: Path, shown: Path) -> None:
    [empty] = track([boxes_of([])], frames=(1, 4))
    assert len(draw_frames(empty, shown, tmp_path / "out")) == 4
    assert changed(tmp_path / "out", shown, 4).max() < DRAWN


def test_frames_of_an_earlier_call_are_removed_and_nothing_else(
    tmp_path: Path, shown: Path
) -> None:
    out = tmp_path / "out"
    draw_frames(live(length=4), shown, out)
    (out / "mine.jpg").write_text("mine")
    draw_frames(live(), shown, out)
    assert sorted(path.name for path in out.iterdir()) == [*numbered(1, 3, ".jpg"), "mine.jpg"]
    remove_frames(out)
    assert [path.name for path in out.iterdir()] == ["mine.jpg"]
    (out / "mine.jpg").unlink()
    remove_frames(out)
    remove_frames(out)
    assert not out.exists()


def test_fewer_images_than_frames_are_named_before_anything_is_drawn(
    tmp_path: Path, shown: Path
) -> None:
    with pytest.raises(InputError, match="4 images"):
        draw_frames(live(length=5), shown, tmp_path / "out")
    assert not (tmp_path / "out").exists()
