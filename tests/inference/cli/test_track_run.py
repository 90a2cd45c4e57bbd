"""``ppl track``, stopped: what is kept, and that the same command goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.long_video import crowd
from inference.tasks import tracking
from inference.tasks.tracking import LiveTracks, WholeSettings
from inference.tasks.tracking.tracks import Tracks
from tests.inference.cli.detections import FILES, Ppl, everyone, ppl, track, walk

__all__ = ["ppl"]


def test_ctrl_c_while_writing_keeps_what_is_whole(
    ppl: Ppl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        walk(tmp_path / f"{name}.txt")
    write = Tracks.write

    def stop_at_b(self: Tracks, folder: Path) -> dict[str, Path]:
        if folder.name == "b":
            raise KeyboardInterrupt
        return write(self, folder)

    monkeypatch.setattr(Tracks, "write", stop_at_b)
    _, err = track(ppl, "a.txt", "b.txt", "--objects", "2", code=130)
    assert "stopped: 1 of 2 written" in err and "Traceback" not in err
    assert {path.name for path in (tmp_path / "out/a").iterdir()} == FILES
    assert not list((tmp_path / "out/b").iterdir())


@pytest.mark.slow
def test_ctrl_c_from_outside(tmp_path: Path) -> None:
    walk(tmp_path / "a.txt", range(1, 200))
    # a child of a shell's background job is born deaf to Ctrl-C
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from inference.cli.app import main; main()"
    command = "track a.txt --objects 2 --out out --method svi --prior srnn".split()
    command += ["--iterations", "1000000"]
    child = subprocess.Popen(
        [sys.executable, "-c", code, *command], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    limit = time.monotonic() + 60
    while not (tmp_path / "out" / "a").exists() and time.monotonic() < limit:
        time.sleep(0.1)
    time.sleep(5)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "stopped" in err and "Traceback" not in err
    assert not list((tmp_path / "out" / "a").iterdir())


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """Follow in windows of 30 frames; stop the program after so many; note each that is begun."""
    real = tracking.track
    # the door's `follow` is the function: its module is asked for by name
    module: Any = __import__("inference.tasks.tracking.whole.follow", fromlist=["follow"])
    inside = module._follow_window

    def limited(number: int) -> list[int]:
        begun = list[int]()

        def stop(video: Any, settings: Any) -> Any:
            if len(begun) == number:
                raise KeyboardInterrupt
            begun.append(video.first)
            return inside(video, settings)

        monkeypatch.setattr(module, "_follow_window", stop)
        return begun

    settings = WholeSettings(window=30, overlap=10)
    monkeypatch.setattr(tracking, "track", partial(real, settings=settings))
    return limited


def test_a_whole_video_goes_on_from_the_windows_that_are_done(
    ppl: Ppl, tmp_path: Path, windows: Callable[[int], list[int]]
) -> None:
    walk(tmp_path / "a.txt", range(1, 71))
    everyone(ppl, "a.txt")
    whole = (tmp_path / "out/a/tracks.txt").read_bytes()
    begun = windows(2)
    _, err = everyone(ppl, "a.txt", code=130)
    assert begun == [1, 21] and "Traceback" not in err
    assert "stopped: 0 of 1 written" in err and "kept (2), and the same command goes on" in err
    begun = windows(9)
    everyone(ppl, "a.txt")
    assert begun == [41] and (tmp_path / "out/a/tracks.txt").read_bytes() == whole
    assert {path.name for path in (tmp_path / "out/a").iterdir()} == FILES
    assert ".windows" not in (tmp_path / "out/SHA256SUMS").read_text()


def test_files_that_are_done_are_not_followed_again_when_a_later_one_was_stopped(
    ppl: Ppl, tmp_path: Path, windows: Callable[[int], list[int]]
) -> None:
    for name in "ab":
        walk(tmp_path / f"{name}.txt", range(1, 71), seed=ord(name))
    begun = windows(4)
    _, err = everyone(ppl, "a.txt", "b.txt", code=130)
    assert "stopped: 1 of 2 written" in err and "kept (4)" in err and begun == [1, 21, 41, 1]
    assert (tmp_path / "out/a/tracks.txt").is_file()
    begun = windows(9)
    everyone(ppl, "a.txt", "b.txt")
    assert begun == [21, 41]
    for name in "ab":
        assert {path.name for path in (tmp_path / "out" / name).iterdir()} == FILES


def test_other_options_begin_anew_and_leave_nothing_behind(
    ppl: Ppl, tmp_path: Path, windows: Callable[[int], list[int]]
) -> None:
    walk(tmp_path / "a.txt", range(1, 71))
    windows(2)
    everyone(ppl, "a.txt", code=130)
    (tmp_path / "out/a/.windows/mine").write_text("mine")
    begun = windows(9)
    everyone(ppl, "a.txt", "--rate", "20")
    assert begun == [1, 21, 41]
    assert [path.name for path in (tmp_path / "out/a/.windows").iterdir()] == ["mine"]


def test_stopped_before_any_window_nothing_is_promised(
    ppl: Ppl, tmp_path: Path, windows: Callable[[int], list[int]]
) -> None:
    walk(tmp_path / "a.txt", range(1, 71))
    windows(0)
    _, err = everyone(ppl, "a.txt", code=130)
    assert "stopped: 0 of 1 written, each file whole\n" in err


def test_stopped_while_a_whole_video_is_written_its_windows_are_kept(
    ppl: Ppl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, windows: Callable[[int], list[int]]
) -> None:
    walk(tmp_path / "a.txt", range(1, 71))

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(LiveTracks, "write", stop)
        assert "kept (3)" in everyone(ppl, "a.txt", code=130)[1]
    begun = windows(0)
    everyone(ppl, "a.txt")
    assert not begun and (tmp_path / "out/a/tracks.png").is_file()


@pytest.mark.slow
def test_ctrl_c_from_outside_during_a_whole_video(tmp_path: Path) -> None:
    """Some six people in each of 1,000 frames: two windows, of a second or two each."""
    write_crowd(tmp_path / "a.txt")
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from inference.cli.app import main; main()"
    start = [sys.executable, "-c", code, "track", "a.txt", "--rate", "25", "--out", "out"]
    child = subprocess.Popen(start, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    kept, limit = tmp_path / "out" / "a" / ".windows", time.monotonic() + 120
    while not list(kept.glob("*-0001.npz")) and time.monotonic() < limit:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130 and "the same command goes on" in err
    first = list(kept.glob("*-0001.npz"))
    assert first and "Traceback" not in err
    before = first[0].stat().st_mtime_ns
    child = subprocess.Popen(start, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while child.poll() is None and not list(kept.glob("*-0002.npz")):
        time.sleep(0.05)
    assert not first[0].exists() or first[0].stat().st_mtime_ns == before
    _, err = child.communicate(timeout=200)
    assert child.returncode == 0, err
    assert {path.name for path in (tmp_path / "out" / "a").iterdir()} == FILES


def write_crowd(path: Path) -> None:
    boxes = crowd(1000, 6.0)
    rows = zip(boxes.frame.tolist(), boxes.ltwh.tolist(), boxes.score.tolist(), strict=True)
    lines = [f"{t},-1,{','.join(f'{x:.2f}' for x in box)},{score:.4f}\n" for t, box, score in rows]
    path.write_text("".join(lines))
