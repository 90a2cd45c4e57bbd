from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.cli.app import main
from inference.tasks import tracking
from inference.tasks.tracking.tracks import Tracks
from ppl_models.data.motchallenge import read_boxes, write_tracks
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


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a.txt", "--objects", "0"], 2, "--objects"),
        (["a.txt", "--objects", "2", "--frames", "5:2"], 2, "--frames takes A:B"),
        (["a.txt", "--objects", "2", "--image-size", "640"], 2, "--image-size takes"),
        (["a.txt", "--objects", "2", "--prior", "magic"], 2, "--prior"),
        (["a.txt"], 2, "--objects"),
        (["--objects", "2"], 2, "DET.txt"),
        (["a.txt", "b.txt", "--objects", "2", "--gt", "a.gt"], 2, "give one for each"),
        (["a.txt", "a.txt", "--objects", "2"], 1, "rename one"),
        (["a.txt", "sub/a.txt", "--objects", "2"], 1, "rename one"),
        (["none.txt", "--objects", "2"], 1, "none.txt: saw no such file"),
        (["a.txt", "empty.txt", "--objects", "2"], 1, "empty.txt: saw no rows"),
        (["sub", "--objects", "2"], 1, "sub: saw a folder"),
        (["a.txt", "--objects", "2", "--gt", "late.gt"], 1, "of the same video"),
        (["a.txt", "--objects", "2", "--frames", "90:99"], 1, "--frames"),
        (["a.txt", "--objects", "2", "--gt", "a.txt"], 1, "rows without an id"),
        (["a.txt", "--objects", "2", "--min-score", "0.95"], 1, "lower --min-score"),
    ],
)
def test_mistakes_are_named_before_any_work(
    ppl: Ppl, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    walk(tmp_path / "a.txt")
    walk(tmp_path / "b.txt")
    walk(tmp_path / "late.txt", range(500, 510))
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "sub").mkdir()
    walk(tmp_path / "sub" / "a.txt")
    out, err = track(ppl, *arguments, code=code)
    assert message in err and "Traceback" not in err and not out
    assert not (tmp_path / "out").exists()


def test_an_out_that_is_a_file_is_named(ppl: Ppl, tmp_path: Path) -> None:
    walk(tmp_path / "a.txt")
    (tmp_path / "out").write_text("mine")
    _, err = track(ppl, "a.txt", "--objects", "2", code=1)
    assert "change --out" in err and (tmp_path / "out").read_text() == "mine"


def test_ground_truth_without_motmetrics_is_named_before_any_work(
    ppl: Ppl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk(tmp_path / "a.txt")
    monkeypatch.setitem(sys.modules, "motmetrics", None)
    _, err = track(ppl, "a.txt", "--objects", "2", "--gt", "a.gt", code=1)
    assert "pip install 'ppl-models[tracking]'" in err and not (tmp_path / "out").exists()


@pytest.fixture
def tracks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write no posterior and no picture: they take longer than the tracking here."""

    def write(self: Tracks, folder: Path) -> dict[str, Path]:
        write_tracks(folder / "tracks.txt", self.boxes, self.first)
        return {"tracks.txt": folder / "tracks.txt"}

    monkeypatch.setattr(Tracks, "write", write)


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


def test_a_full_disk_keeps_what_was_there(
    ppl: Ppl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walk(tmp_path / "a.txt")
    track(ppl, "a.txt", "--objects", "2")
    before = {path: path.read_bytes() for path in (tmp_path / "out/a").iterdir()}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    _, err = track(ppl, "a.txt", "--objects", "1", code=1)
    assert "No space left on device" in err and "Traceback" not in err
    assert {path: path.read_bytes() for path in (tmp_path / "out/a").iterdir()} == before


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


def test_the_demo_shows_the_picture_and_the_table(ppl: Ppl, tmp_path: Path) -> None:
    code, out, err = ppl("demo", "--out", "shown")
    assert code == 0, err
    folder = tmp_path / "shown" / "TUD-Stadtmitte"
    assert {path.name for path in folder.iterdir()} == FILES | {"metrics.json"}
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["frames"], metrics["objects"], metrics["boxes"]) == (40, 7, 280)
    assert "MOTA" in out and out.splitlines()[-1].strip() == "shown/TUD-Stadtmitte/tracks.png"


def test_the_demo_reads_no_identity(ppl: Ppl, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def record(detections: list[Any], **settings: Any) -> None:
        seen.append((detections[0], settings))
        raise InputError("stop here")

    monkeypatch.setattr(tracking, "track", record)
    assert ppl("demo")[0] == 1
    [(boxes, settings)] = seen
    assert (boxes.id == -1).all() and len(boxes.between(23, 62)) == 153
    assert settings == {"objects": 7, "frames": [(23, 62)]}


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


def test_without_objects_whoever_comes_and_goes_is_followed(ppl: Ppl, tmp_path: Path) -> None:
    come_and_go(tmp_path / "a.txt")
    truth = [f"{t},1,{3 * t},{100 + t},40,80,1,1,1\n" for t in range(1, 41)]
    (tmp_path / "a.gt").write_text("".join(truth))
    out, err = everyone(ppl, "a.txt", "--rate", "25", "--gt", "a.gt", "--image-size", "900x300")
    assert "a.txt: 2 objects, frames 1 to 40 -> out/a/" in out and "MOTA" in out and not err
    folder = tmp_path / "out" / "a"
    assert {path.name for path in folder.iterdir()} == FILES | {"metrics.json"}
    tracks = read_boxes(folder / "tracks.txt")
    frames = {n: set(tracks.frame[tracks.id == n].tolist()) for n in (1, 2)}
    assert frames[1] == set(range(1, 41))
    assert set(range(1, 21)) <= frames[2] <= set(range(1, 36))
    assert json.loads((folder / "metrics.json").read_text())["objects"] == 1
    assert (tmp_path / "out" / "SHA256SUMS").is_file()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `track` is asked for; it does nothing."""
    asked: list[dict[str, Any]] = []

    def record(detections: list[Any], **settings: Any) -> None:
        asked.append(settings)
        raise InputError("stop here")

    monkeypatch.setattr(tracking, "track", record)
    return asked


def test_without_objects_every_score_is_weighed_and_the_rest_is_left_open(
    ppl: Ppl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def record(detections: list[Any], **settings: Any) -> None:
        seen.append((detections[0], settings))
        raise InputError("stop here")

    monkeypatch.setattr(tracking, "track", record)
    (tmp_path / "a.txt").write_text("1,-1,0,0,40,80,0.1\n2,-1,0,0,40,80,0.9\n")
    everyone(ppl, "a.txt", code=1)
    everyone(ppl, "a.txt", "--min-score", "0.5", code=1)
    assert [len(boxes) for boxes, _ in seen] == [2, 1]
    expected = {"objects": None, "image_size": None, "rate": [None], "frames": [(1, 2)]}
    assert callable(seen[0][1].pop("progress"))
    assert seen[0][1] == expected


@pytest.mark.parametrize(
    "option",
    [["--method", "vem"], ["--prior", "linear"], ["--no-clutter"], ["--clutter"]]
    + [["--iterations", "3"], ["--seed", "0"]],
)
def test_options_of_a_known_number_are_refused_without_it(
    ppl: Ppl, tmp_path: Path, option: list[str]
) -> None:
    come_and_go(tmp_path / "a.txt")
    _, err = everyone(ppl, "a.txt", *option, code=2)
    name = option[0].replace("--no-", "--")
    assert f"{name} goes with --objects" in err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("rate", ["0", "-25", "nan", "inf", "fast"])
def test_rates_that_are_none_are_named_before_any_work(ppl: Ppl, tmp_path: Path, rate: str) -> None:
    come_and_go(tmp_path / "a.txt")
    _, err = everyone(ppl, "a.txt", "--rate", rate, code=2)
    assert "--rate" in err and not (tmp_path / "out").exists()


def test_a_rate_is_refused_with_objects(ppl: Ppl, tmp_path: Path) -> None:
    come_and_go(tmp_path / "a.txt")
    _, err = everyone(ppl, "a.txt", "--rate", "25", "--objects", "2", code=2)
    assert "--rate goes without --objects" in err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("info", "rate"),
    [
        ("[Sequence]\nseqLength=40\nframeRate=14\n", 14.0),
        ("[Sequence]\nseqLength=40\nframeRate=29.97\n", 29.97),
        ("[Sequence]\nseqLength=40\n", None),
        (None, None),
    ],
)
def test_the_rate_beside_a_det_txt_is_read(
    ppl: Ppl, tmp_path: Path, calls: list[dict[str, Any]], info: str | None, rate: float | None
) -> None:
    come_and_go(tmp_path / "seq" / "det.txt")
    come_and_go(tmp_path / "seq" / "other.txt")
    if info is not None:
        (tmp_path / "seq" / "seqinfo.ini").write_text(info)
    everyone(ppl, "seq/det.txt", "seq/other.txt", code=1)
    everyone(ppl, "seq/det.txt", "--rate", "30", code=1)
    assert [asked["rate"] for asked in calls] == [[rate, None], [30.0]]


@pytest.mark.parametrize("value", ["0", "-5", "fast", "nan", "inf", ""])
def test_a_bad_rate_beside_a_det_txt_is_named_and_the_option_cures(
    ppl: Ppl, tmp_path: Path, calls: list[dict[str, Any]], value: str
) -> None:
    come_and_go(tmp_path / "det.txt")
    (tmp_path / "seqinfo.ini").write_text(f"[Sequence]\nseqLength=40\nframeRate={value}\n")
    _, err = everyone(ppl, "det.txt", code=1)
    assert "seqinfo.ini" in err and "give --rate" in err and not calls
    assert not (tmp_path / "out").exists()
    everyone(ppl, "det.txt", "--rate", "25", code=1)
    assert calls[0]["rate"] == [25.0]
    everyone(ppl, "det.txt", "--objects", "2", code=1)  # whose motion is a frame's
    assert "rate" not in calls[1]
