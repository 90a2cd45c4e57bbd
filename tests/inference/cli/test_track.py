"""``ppl track`` without ``--objects``: whoever comes and goes in whole videos."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray

from inference.tasks import tracking
from ppl_models.data.motchallenge import read_boxes
from ppl_models.errors import InputError
from tests.inference.cli.detections import FILES, Ppl, calls, come_and_go, everyone, ppl

__all__ = ["calls", "ppl"]


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
    expected = {"objects": None, "image_size": None, "rate": None, "frames": [(1, 2)]}
    assert callable(seen[0][1].pop("progress"))
    assert seen[0][1] == expected | {"directory": Path("out/a/.windows")}


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
    everyone(ppl, "seq/det.txt", code=1)
    everyone(ppl, "seq/other.txt", code=1)
    everyone(ppl, "seq/det.txt", "--rate", "30", code=1)
    assert [asked["rate"] for asked in calls] == [rate, None, 30.0]


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
    assert calls[0]["rate"] == 25.0
    everyone(ppl, "det.txt", "--objects", "2", code=1)  # whose motion is a frame's
    assert "rate" not in calls[1]


EMPTY = ["", "# nothing\n\n", "frame,id,left,top,width,height,score\n"]


@pytest.mark.parametrize("content", EMPTY, ids=["empty", "blank", "header"])
def test_a_video_without_detections_has_an_answer_without_rows(
    ppl: Ppl, tmp_path: Path, content: str
) -> None:
    (tmp_path / "a.txt").write_text(content)
    out, err = everyone(ppl, "a.txt")
    assert "a.txt: 0 objects, frames 1 to 1" in out and not err
    folder = tmp_path / "out" / "a"
    assert (folder / "tracks.txt").read_text() == ""
    with xarray.open_dataset(folder / "posterior.nc", group="posterior", engine="h5netcdf") as q:
        assert q["box"].shape[-2:] == (0, 4)
    assert (folder / "tracks.png").read_bytes().startswith(b"\x89PNG")


def test_a_video_without_detections_is_as_long_as_told(ppl: Ppl, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    truth = [f"{t},1,{3 * t},{100 + t},40,80,1,1,1\n" for t in range(1, 21)]
    (tmp_path / "a.gt").write_text("".join(truth))
    assert "frames 5 to 9" in everyone(ppl, "a.txt", "--frames", "5:9")[0]
    out, _ = everyone(ppl, "a.txt", "--gt", "a.gt")
    assert "frames 1 to 20" in out
    metrics = json.loads((tmp_path / "out/a/metrics.json").read_text())
    assert (metrics["mota"], metrics["fn"], metrics["track_boxes"]) == (0, 20, 0)


def rows_of(path: Path) -> list[str]:
    come_and_go(path)
    return path.read_text().splitlines(keepends=True)


@pytest.mark.parametrize(
    "cut",
    [
        lambda rows: rows[::-1],
        lambda rows: rows + rows[::-1],
        lambda rows: ["frame,id,left,top,width,height,score\n", *rows],
        lambda rows: [row.replace(",", " ") for row in rows],
        lambda rows: [row.strip() + ",-1,-1,-1\n" for row in rows],
        lambda rows: [row.replace(",-1,", f",{n},", 1) for n, row in enumerate(rows)],
    ],
    ids=["order", "duplicates", "header", "blanks", "ten columns", "identities"],
)
def test_odd_files_give_the_same_tracks(
    ppl: Ppl, tmp_path: Path, cut: Callable[[list[str]], list[str]]
) -> None:
    rows = rows_of(tmp_path / "a.txt")
    everyone(ppl, "a.txt")
    plain = (tmp_path / "out/a/tracks.txt").read_bytes()
    (tmp_path / "a.txt").write_text("".join(cut(rows)))
    everyone(ppl, "a.txt")
    assert (tmp_path / "out/a/tracks.txt").read_bytes() == plain


@pytest.mark.parametrize("score", ["-1", "0", "0.9", "37"])
def test_scores_that_say_nothing_lose_nobody(ppl: Ppl, tmp_path: Path, score: str) -> None:
    rows = [row.rsplit(",", 1)[0] for row in rows_of(tmp_path / "a.txt")]
    (tmp_path / "a.txt").write_text("".join(f"{row},{score}\n" for row in rows))
    out, _ = everyone(ppl, "a.txt", "--rate", "25")
    assert "2 objects" in out


def test_one_detection_or_one_frame_is_an_answer_too(ppl: Ppl, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("4,-1,10,20,30,40,0.9\n")
    (tmp_path / "b.txt").write_text(
        "".join(f"7,-1,{40 * n},20,30,40,0.{n + 3}\n" for n in range(5))
    )
    out, err = everyone(ppl, "a.txt", "b.txt")
    assert "frames 4 to 4" in out and "frames 7 to 7" in out and not err


@pytest.mark.parametrize("missed", ["first", "middle", "last"])
def test_no_detection_for_half_the_video(ppl: Ppl, tmp_path: Path, missed: str) -> None:
    gone = {"first": range(1, 21), "middle": range(11, 31), "last": range(21, 41)}[missed]
    rows = [row for row in rows_of(tmp_path / "a.txt") if int(row.split(",")[0]) not in gone]
    (tmp_path / "a.txt").write_text("".join(rows))
    out, err = everyone(ppl, "a.txt", "--frames", "1:40", "--rate", "25")
    assert "frames 1 to 40" in out and not err
    tracks = read_boxes(tmp_path / "out/a/tracks.txt")
    seen = {int(row.split(",")[0]) for row in rows}
    assert seen <= set(tracks.frame.tolist())  # who is seen is there


def test_frames_from_a_million_on(ppl: Ppl, tmp_path: Path) -> None:
    rows = rows_of(tmp_path / "a.txt")
    everyone(ppl, "a.txt", "--rate", "25")
    plain = read_boxes(tmp_path / "out/a/tracks.txt")
    late = [f"{int(row.partition(',')[0]) + 10**6},{row.partition(',')[2]}" for row in rows]
    (tmp_path / "a.txt").write_text("".join(late))
    out, _ = everyone(ppl, "a.txt", "--rate", "25")
    found = read_boxes(tmp_path / "out/a/tracks.txt")
    assert "frames 1000001 to 1000040" in out
    assert (found.frame == plain.frame + 10**6).all() and np.array_equal(found.ltwh, plain.ltwh)
