"""Windows that are kept: an interrupted call goes on from them, and nothing else does."""

from __future__ import annotations

import os
import pickle
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.tasks.tracking import (
    LiveTracks,
    WholeSettings,
    kept_windows,
    remove_windows,
    track,
)
from inference.tasks.tracking.whole import follow as follow_function
from inference.tasks.tracking.whole import kept
from inference.tasks.tracking.whole.windows import Window
from ppl_models.data.motchallenge import Boxes
from tests.inference.tasks.tracking.whole.made import IMAGE, boxes_of, scored, walk

SETTINGS = WholeSettings(window=30, overlap=10)
PARTS = ("object", "frame", "mean", "sd", "present", "seen", "detection")
BOXES = scored(boxes_of(walk(range(1, 71), noise=1) + walk(range(20, 60), y=100.0, noise=1)))
"""Three windows: frames 1 to 30, 21 to 50, 41 to 70."""


def follow(boxes: Boxes = BOXES, **options: Any) -> LiveTracks:
    asked = {"rate": 25.0, "image_size": IMAGE, "settings": SETTINGS} | options
    [found] = track([boxes], **asked)
    return found


WHOLE = follow()


def same(a: LiveTracks, b: LiveTracks = WHOLE) -> bool:
    """Whether two answers have exactly the same numbers."""
    return all(np.array_equal(getattr(a, part), getattr(b, part)) for part in PARTS)


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """First frames of the windows that are followed, and not only read."""
    # the door's `follow` is the function: its module is asked for by name
    module: Any = __import__(follow_function.__module__, fromlist=["_follow_window"])
    before, begun = module._follow_window, list[int]()

    def count(video: Any, settings: WholeSettings) -> Window:
        begun.append(video.first)
        found: Window = before(video, settings)
        return found

    monkeypatch.setattr(module, "_follow_window", count)
    return begun


def stop_after(number: int) -> Callable[[int, int], None]:
    def progress(done: int, of: int) -> None:
        assert of == 3
        if done == number:
            raise KeyboardInterrupt

    return progress


@pytest.fixture
def stopped(tmp_path: Path, done: list[int]) -> Path:
    """A folder in which two windows of three are done."""
    with pytest.raises(KeyboardInterrupt):
        follow(directory=tmp_path, progress=stop_after(2))
    assert done == [1, 21] and len(list(tmp_path.iterdir())) == 2
    done.clear()
    return tmp_path


def test_stopped_after_two_windows_it_goes_on_to_the_same_numbers(
    stopped: Path, done: list[int]
) -> None:
    steps: list[tuple[int, int]] = []
    found = follow(directory=stopped, progress=lambda *step: steps.append(step))
    assert done == [41] and steps == [(1, 3), (2, 3), (3, 3)] and same(found)
    done.clear()
    assert same(follow(directory=str(stopped))) and not done


@pytest.mark.parametrize(
    "options",
    [
        {"rate": 24.0},
        {"image_size": (1001.0, 600.0)},
        {"frames": (1, 69)},
        {"settings": WholeSettings(window=31, overlap=10)},
        {"settings": replace(SETTINGS, life=replace(SETTINGS.life, life=9.0))},
        {"settings": replace(SETTINGS, design=replace(SETTINGS.design, patience=1.6))},
    ],
)
def test_other_settings_use_none_of_it(
    stopped: Path, done: list[int], options: dict[str, Any]
) -> None:
    found = follow(directory=stopped, **options)
    assert len(done) == 3
    assert same(found, follow(**options))


@pytest.mark.parametrize("part", ["frame", "ltwh", "score"])
def test_other_detections_use_none_of_it(stopped: Path, done: list[int], part: str) -> None:
    value = getattr(BOXES, part).copy()
    value[-1] += {"frame": -1, "ltwh": 1e-9, "score": 1e-9}[part]
    follow(replace(BOXES, **{part: value}), directory=stopped, frames=(1, 70))
    assert len(done) == 3


def test_identities_which_are_not_read_change_nothing(stopped: Path, done: list[int]) -> None:
    assert same(follow(replace(BOXES, id=np.arange(len(BOXES))), directory=stopped))
    assert done == [41]


def test_several_videos_share_a_folder(tmp_path: Path, done: list[int]) -> None:
    early = BOXES.between(1, 45)
    options: dict[str, Any] = {"rate": 25.0, "image_size": IMAGE, "settings": SETTINGS}
    for _ in range(2):
        both = track([BOXES, early], directory=tmp_path, **options)
        assert same(both[0]) and same(both[1], follow(early, directory=tmp_path))
    assert done == [1, 21, 41, 1, 21]


def test_a_damaged_file_is_as_good_as_none(stopped: Path, done: list[int]) -> None:
    file = sorted(stopped.iterdir())[1]
    good = file.read_bytes()
    for bad in (b"", b"PK", good[:-1], good[: len(good) // 2], good + b"x", os.urandom(999)):
        file.write_bytes(bad)
        done.clear()
        assert same(follow(directory=stopped))
        assert set(done) <= {21, 41}


def test_a_flipped_bit_changes_no_number(stopped: Path) -> None:
    file = sorted(stopped.iterdir())[1]
    good, rng = file.read_bytes(), np.random.default_rng(0)
    windows = kept.KeptWindows(stopped, BOXES, "")
    windows.fingerprint = file.name.partition("-")[0]
    [before] = [windows.read(2, 21, 50)]
    assert before is not None
    for at in rng.integers(0, len(good), 200).tolist():
        bad = bytearray(good)
        bad[at] ^= 1 << int(rng.integers(8))
        file.write_bytes(bad)
        found = windows.read(2, 21, 50)
        assert found is None or all(map(np.array_equal, flat(found), flat(before)))


def flat(window: Window) -> list[Any]:
    return [*window.boxes, window.steps]


class Bomb:
    """Unpickled, it makes a folder."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


def test_a_file_of_a_stranger_runs_nothing(
    stopped: Path, done: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(stopped)
    file = sorted(stopped.iterdir())[1]
    np.savez(file, object=np.array([Bomb()], object), allow_pickle=True)
    assert same(follow(directory=stopped)) and 21 in done
    file.write_bytes(pickle.dumps(Bomb()))
    assert same(follow(directory=stopped))
    assert not (stopped / "ran").exists()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_file_of_a_stranger_takes_no_memory(stopped: Path, save: Any) -> None:
    file = sorted(stopped.iterdir())[1]
    windows = kept.KeptWindows(stopped, BOXES, "")
    windows.fingerprint = file.name.partition("-")[0]
    save(file, mean=np.zeros((10**6, 4)))
    tracemalloc.start()
    try:
        assert windows.read(2, 21, 50) is None
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("object", lambda x: x * 0),
        ("frame", lambda x: x + 30),
        ("frame", lambda x: x[::-1]),
        ("frame", lambda x: x.astype(float)),
        ("mean", lambda x: x * np.nan),
        ("mean", lambda x: x[:, :3]),
        ("variance", lambda x: -x),
        ("present", lambda x: x + 1),
        ("seen", lambda x: x - 1.5),
        ("seen", lambda x: x[1:]),
        ("detection", lambda x: x + 10**6),
        ("detection", lambda x: x * 0 - 2),
        ("detection", lambda x: x * 0),
    ],
)
def test_rows_that_cannot_be_of_this_window_are_not_believed(
    stopped: Path, done: list[int], name: str, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    file = sorted(stopped.iterdir())[1]
    with np.load(file) as parts:
        rows = dict(parts)
    np.savez(file, **rows | {name: change(rows[name])})
    assert same(follow(directory=stopped)) and done == [21, 41]


def test_a_missing_part_or_one_more_is_not_believed(stopped: Path, done: list[int]) -> None:
    file = sorted(stopped.iterdir())[1]
    with np.load(file) as parts:
        rows = dict(parts)
    np.savez(file, **{name: rows[name] for name in rows if name != "seen"})
    assert same(follow(directory=stopped)) and 21 in done
    done.clear()
    np.savez(file, **rows, more=rows["seen"])
    assert same(follow(directory=stopped)) and 21 in done


def test_nothing_to_follow_is_kept_too(tmp_path: Path, done: list[int]) -> None:
    for _ in range(2):
        found = follow(boxes_of([]), frames=(1, 70), directory=tmp_path / "new" / "folder")
        assert found.objects == 0
    assert done == [1, 21, 41]


def test_windows_are_removed_and_nothing_else(stopped: Path, tmp_path: Path) -> None:
    names = [path.name for path in kept_windows(stopped)]
    assert len(names) == 2 and names == sorted(names)
    (stopped / "mine.npz").write_text("mine")
    remove_windows(stopped)
    assert [path.name for path in stopped.iterdir()] == ["mine.npz"]
    (stopped / "mine.npz").unlink()
    link = tmp_path.with_name("link")
    link.symlink_to(stopped)
    remove_windows(link)
    assert stopped.is_dir() and link.is_symlink()
    remove_windows(stopped)
    assert not stopped.exists() and not kept_windows(stopped)
    remove_windows(stopped)
