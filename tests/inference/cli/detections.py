"""Files of detections, and the commands that read them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.cli.app import main
from inference.tasks import tracking
from inference.tasks.tracking.tracks import Tracks
from ppl_models.data.motchallenge import write_tracks
from ppl_models.errors import InputError

Ppl = Callable[..., tuple[int, str, str]]


FILES = {"tracks.txt", "posterior.nc", "tracks.png"}


@pytest.fixture
def ppl(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ppl:
    """Run the command in an empty folder; return exit code, output and messages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


def walk(path: Path, frames: range = range(1, 13), objects: int = 2, seed: int = 0) -> list[str]:
    """Write detections of objects far apart, and the truth beside them; return the rows."""
    rng = np.random.default_rng(seed)
    rows, truth = [], []
    for frame in frames:
        for n in rng.permutation(objects):
            box = np.array([300.0 * n + 3 * frame, 100 + frame, 40, 80])
            left, top, width, height = box + rng.normal(0, 0.5, 4)
            rows.append(f"{frame},-1,{left:.2f},{top:.2f},{width:.2f},{height:.2f},0.9\n")
            truth.append(f"{frame},{n + 1},{','.join(map(str, box))},1,1,1\n")
    path.write_text("".join(rows))
    path.with_suffix(".gt").write_text("".join(truth))
    return rows


def track(ppl: Ppl, *arguments: str, code: int = 0) -> tuple[str, str]:
    """Run ``ppl track`` with few iterations into the folder out."""
    found, out, err = ppl("track", *arguments, "--out", "out", "--iterations", "3")
    assert found == code, err
    return out, err


def everyone(ppl: Ppl, *arguments: str, code: int = 0) -> tuple[str, str]:
    """Run ``ppl track`` without --objects into the folder out."""
    found, out, err = ppl("track", *arguments, "--out", "out")
    assert found == code, err
    return out, err


def come_and_go(path: Path) -> None:
    """Write detections of one who is there for 40 frames, and of one who leaves after 20."""
    rng, rows = np.random.default_rng(0), []
    for frame in range(1, 41):
        for n in range(1 if frame > 20 else 2):
            corner = np.array([300.0 * n + 3 * frame, 100 + frame]) + rng.normal(0, 0.5, 2)
            rows.append(f"{frame},-1,{corner[0]:.2f},{corner[1]:.2f},40,80,{0.8 + n / 10:.1f}\n")
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(rows))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `track` is asked for; it does nothing."""
    asked: list[dict[str, Any]] = []

    def record(detections: list[Any], **settings: Any) -> None:
        asked.append(settings)
        raise InputError("stop here")

    monkeypatch.setattr(tracking, "track", record)
    return asked


@pytest.fixture
def tracks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write no posterior and no picture: they take longer than the tracking here."""

    def write(self: Tracks, folder: Path) -> dict[str, Path]:
        write_tracks(folder / "tracks.txt", self.boxes, self.first)
        return {"tracks.txt": folder / "tracks.txt"}

    monkeypatch.setattr(Tracks, "write", write)
