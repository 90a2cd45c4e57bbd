"""``ppl track --objects N``: files, odd files, and what is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.tasks import tracking
from ppl_models.data.motchallenge import read_boxes
from ppl_models.errors import InputError
from tests.inference.cli.detections import FILES, Ppl, ppl, track, tracks_only, walk

__all__ = ["ppl", "tracks_only"]


def test_files_become_folders_with_tracks_posterior_picture_and_metrics(
    ppl: Ppl, tmp_path: Path
) -> None:
    walk(tmp_path / "a.txt")
    walk(tmp_path / "b.txt", range(5, 25), seed=1)
    arguments = ["a.txt", "b.txt", "--objects", "2", "--gt", "a.gt", "--gt", "b.gt"]
    out, err = track(ppl, *arguments)
    for name, frames in (("a", range(1, 13)), ("b", range(5, 25))):
        folder = tmp_path / "out" / name
        assert {path.name for path in folder.iterdir()} == FILES | {"metrics.json"}
        tracks = read_boxes(folder / "tracks.txt")
        assert tracks.frame.tolist() == [frame for frame in frames for _ in range(2)]
        assert tracks.id.tolist() == [1, 2] * len(frames)
        metrics = json.loads((folder / "metrics.json").read_text())
        assert metrics["mota"] == metrics["idf1"] == 100 and metrics["frames"] == len(frames)
        assert (folder / "tracks.png").read_bytes().startswith(b"\x89PNG")
        assert f"{name}.txt: 2 objects, frames {frames[0]} to {frames[-1]} -> out/{name}/" in out
    assert [line.split()[0] for line in out.splitlines()[-4:]] == ["MOTA", "a", "b", "all"]
    assert not err


def test_the_posterior_reads_back(ppl: Ppl, tmp_path: Path) -> None:
    import xarray

    walk(tmp_path / "a.txt")
    track(ppl, "a.txt", "--objects", "2")
    with xarray.open_dataset(
        tmp_path / "out/a/posterior.nc", group="posterior", engine="h5netcdf"
    ) as posterior:
        box = posterior["box"].mean(("chain", "draw")).to_numpy()
    tracks = read_boxes(tmp_path / "out/a/tracks.txt").padded(1, 12)
    assert np.abs(np.moveaxis(box, 0, 1) - tracks).max() < 3  # pixels; noise of 200 draws


def test_many_files_share_one_batch(
    ppl: Ppl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, dict[str, Any]]] = []

    def record(detections: list[Any], **settings: Any) -> None:
        calls.append((len(detections), settings))
        raise InputError("stop here")

    monkeypatch.setattr(tracking, "track", record)
    for name in "abc":
        walk(tmp_path / f"{name}.txt")
    options = "--objects 2 --out out --image-size 640x480 --method svi --prior srnn --seed 3"
    ppl("track", "a.txt", "b.txt", "c.txt", *options.split(), "--no-clutter", "--frames", "2:9")
    assert calls == [
        (
            3,
            {
                "objects": 2,
                "image_size": (640.0, 480.0),
                "frames": [(2, 9)] * 3,
                "method": "svi",
                "prior": "srnn",
                "clutter": False,
                "seed": 3,
            },
        )
    ]
    calls.clear()
    ppl("track", "a.txt", "--objects", "2", "--out", "out")
    [(_, default)] = calls
    assert default == {"objects": 2, "image_size": None, "frames": [(1, 12)]}


def frame_of(row: str) -> int:
    return int(row.split(",")[0])


def is_first_object(row: str) -> bool:
    return float(row.split(",")[2]) < 200


@pytest.mark.usefixtures("tracks_only")
@pytest.mark.parametrize(
    ("cut", "least"),
    [
        # The first three frames show one object only, or none at all.
        (lambda rows: [r for r in rows if frame_of(r) > 3 or is_first_object(r)], 90),
        (lambda rows: [r for r in rows if frame_of(r) > 3], 90),
        (lambda rows: rows + rows[::-1], 100),
        (lambda rows: rows[::-1], 100),
        (lambda rows: ["frame,id,left,top,width,height,score\n", *rows], 100),
    ],
    ids=["one-at-first", "none-at-first", "duplicates", "order", "header"],
)
def test_odd_files_still_give_the_right_tracks(
    ppl: Ppl, tmp_path: Path, cut: Callable[[list[str]], list[str]], least: float
) -> None:
    rows = walk(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text("".join(cut(rows)))
    track(ppl, "a.txt", "--objects", "2", "--gt", "a.gt")
    metrics = json.loads((tmp_path / "out/a/metrics.json").read_text())
    assert metrics["idf1"] >= least and metrics["track_boxes"] == 24


@pytest.mark.usefixtures("tracks_only")
@pytest.mark.parametrize("missed", ["first", "middle", "last"])
def test_no_detection_for_half_the_clip(ppl: Ppl, tmp_path: Path, missed: str) -> None:
    gone = {"first": range(1, 13), "middle": range(7, 19), "last": range(13, 25)}[missed]
    rows = walk(tmp_path / "a.txt", range(1, 25))
    kept = [row for row in rows if frame_of(row) not in gone]
    (tmp_path / "a.txt").write_text("".join(kept))
    track(ppl, "a.txt", "--objects", "2", "--gt", "a.gt")
    metrics = json.loads((tmp_path / "out/a/metrics.json").read_text())
    assert metrics["ids"] == 0 and metrics["track_boxes"] == 48
    assert metrics["idf1"] >= (100 if missed == "middle" else 75)  # 3 pixels a frame, boxes of 40


@pytest.mark.parametrize("objects", [1, 2, 5])
def test_one_frame(ppl: Ppl, tmp_path: Path, objects: int) -> None:
    walk(tmp_path / "a.txt", range(7, 8))
    track(ppl, "a.txt", "--objects", str(objects), "--gt", "a.gt")
    tracks = read_boxes(tmp_path / "out/a/tracks.txt")
    assert tracks.frame.tolist() == [7] * objects and np.isfinite(tracks.ltwh).all()
    found = json.loads((tmp_path / "out/a/metrics.json").read_text())["matches"]
    assert found == min(objects, 2)


def test_one_detection_in_all(ppl: Ppl, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("4,-1,10,20,30,40,0.9\n")
    track(ppl, "a.txt", "--objects", "3", "--frames", "1:8")
    assert len(read_boxes(tmp_path / "out/a/tracks.txt")) == 24


@pytest.mark.usefixtures("tracks_only")
def test_the_same_seed_gives_the_same_tracks(ppl: Ppl, tmp_path: Path) -> None:
    walk(tmp_path / "a.txt")
    for folder in ("one", "two"):
        assert ppl("track", "a.txt", "--objects", "2", "--out", folder)[0] == 0
    one, two = (tmp_path / folder / "a/tracks.txt" for folder in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_another_run_leaves_no_metrics_of_the_first(ppl: Ppl, tmp_path: Path) -> None:
    walk(tmp_path / "a.txt")
    track(ppl, "a.txt", "--objects", "2", "--gt", "a.gt")
    track(ppl, "a.txt", "--objects", "1")
    assert {path.name for path in (tmp_path / "out/a").iterdir()} == FILES
