"""``ppl track``, with and without ``--objects``: mistakes are named before any work."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from tests.inference.cli.detections import Ppl, everyone, ppl, track, walk

__all__ = ["ppl"]


BAD = {
    "columns": ("1,-1,10,20,30\n", "columns"),
    "words": ("one,-1,10,20,30,40,0.9\n", "is no number"),
    "late word": ("1,-1,10,20,30,40,0.9\n2,-1,10,x,30,40,0.9\n", "line 2"),
    "more columns": ("1,-1,10,20,30,40,0.9\n2,-1,10,20,30,40,0.9,1\n", "line 2"),
    "semicolons": ("1;-1;10;20;30;40;0,9\n", "semicolons"),
    "comma": ("1,-1,10,20,30,40,0.9,\n", "a comma at the end"),
    "two headers": ("a,b,c,d,e,f,g\nh,i,j,k,l,m,n\n1,-1,10,20,30,40,0.9\n", "second header"),
    "nan": ("1,-1,10,20,nan,40,0.9\n", "NaN or infinity"),
    "nan score": ("1,-1,10,20,30,40,nan\n", "NaN or infinity"),
    "inf": ("1,-1,inf,20,30,40,0.9\n", "NaN or infinity"),
    "negative": ("1,-1,10,20,-30,40,0.9\n", "positive width and height"),
    "zero": ("1,-1,10,20,30,0,0.9\n", "positive width and height"),
    "huge": ("1,-1,10,20,30,1e9,0.9\n", "0.001 to 1,000,000 pixels"),
    "far": ("1,-1,1e9,20,30,40,0.9\n", "left or top"),
    "frame 0": ("0,-1,10,20,30,40,0.9\n", "whole frame numbers from 1"),
    "half frame": ("1.5,-1,10,20,30,40,0.9\n", "whole frame numbers from 1"),
    "far frame": ("1,-1,9,9,9,9,1\n200000,-1,9,9,9,9,1\n", "cut with --frames"),
    "six columns": ("1,-1,10,20,30,40\n", "6 columns"),
    "gzip": (b"\x1f\x8b\x08\x00broken", "damaged gzip"),
    "utf-16": ("1,-1,10,20,30,40,0.9\n".encode("utf-16"), "save it as UTF-8"),
    "pickle": (b"\x80\x04\x95\x0b\x00\x00\x00.", "line 1"),
}


@pytest.mark.parametrize("objects", [[], ["--objects", "2"]], ids=["whole", "known"])
@pytest.mark.parametrize("kind", BAD)
def test_files_that_are_no_detections_are_named_with_their_line(
    ppl: Ppl, tmp_path: Path, kind: str, objects: list[str]
) -> None:
    content, message = BAD[kind]
    (tmp_path / "a.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    out, err = everyone(ppl, "a.txt", *objects, code=1)
    assert message in err and "a.txt" in err and "Traceback" not in err and not out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("objects", [[], ["--objects", "2"]], ids=["whole", "known"])
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a.txt", "--frames", "5:2"], 2, "--frames takes A:B"),
        (["a.txt", "--image-size", "640"], 2, "--image-size takes"),
        (["a.txt", "--objects", "0"], 2, "--objects"),
        (["a.txt", "--prior", "magic"], 2, "--prior"),
        ([], 2, "DET.txt"),
        (["a.txt", "b.txt", "--gt", "a.gt"], 2, "give one for each"),
        (["a.txt", "a.txt"], 1, "rename one"),
        (["a.txt", "sub/a.txt"], 1, "rename one"),
        (["none.txt"], 1, "none.txt: saw no such file"),
        (["sub"], 1, "sub: saw a folder"),
        (["a.txt", "--gt", "late.gt"], 1, "of the same video"),
        (["a.txt", "--gt", "empty.txt"], 1, "empty.txt: saw no rows"),
        (["a.txt", "--frames", "90:99"], 1, "--frames"),
        (["a.txt", "--gt", "a.txt"], 1, "rows without an id"),
        (["a.txt", "--min-score", "0.95"], 1, "lower --min-score"),
    ],
)
def test_mistakes_are_named_before_any_work(
    ppl: Ppl, tmp_path: Path, arguments: list[str], code: int, message: str, objects: list[str]
) -> None:
    walk(tmp_path / "a.txt")
    walk(tmp_path / "b.txt")
    walk(tmp_path / "late.txt", range(500, 510))
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "sub").mkdir()
    walk(tmp_path / "sub" / "a.txt")
    out, err = everyone(ppl, *objects, *arguments, code=code)
    assert message in err and "Traceback" not in err and not out
    assert not (tmp_path / "out").exists()


def test_with_objects_a_file_without_rows_is_named(ppl: Ppl, tmp_path: Path) -> None:
    walk(tmp_path / "a.txt")
    for content in ("", "# nothing\n\n", "frame,id,left,top,width,height,score\n"):
        (tmp_path / "empty.txt").write_text(content)
        _, err = track(ppl, "a.txt", "empty.txt", "--objects", "2", code=1)
        assert "empty.txt: saw no rows" in err and not (tmp_path / "out").exists()


@pytest.mark.parametrize("objects", [[], ["--objects", "2"]], ids=["whole", "known"])
def test_an_out_that_is_a_file_is_named(ppl: Ppl, tmp_path: Path, objects: list[str]) -> None:
    walk(tmp_path / "a.txt")
    (tmp_path / "out").write_text("mine")
    _, err = everyone(ppl, "a.txt", *objects, code=1)
    assert "change --out" in err and (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("objects", [[], ["--objects", "2"]], ids=["whole", "known"])
def test_ground_truth_without_motmetrics_is_named_before_any_work(
    ppl: Ppl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objects: list[str]
) -> None:
    walk(tmp_path / "a.txt")
    monkeypatch.setitem(sys.modules, "motmetrics", None)
    _, err = everyone(ppl, "a.txt", *objects, "--gt", "a.gt", code=1)
    assert "pip install 'ppl-models[tracking]'" in err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("first", "then"),
    [(["--objects", "2"], ["--objects", "1"]), ([], ["--frames", "1:9"])],
    ids=["known", "whole"],
)
def test_a_full_disk_keeps_what_was_there(
    ppl: Ppl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: list[str], then: list[str]
) -> None:
    walk(tmp_path / "a.txt")
    everyone(ppl, "a.txt", *first)
    before = contents(tmp_path / "out" / "a")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    _, err = everyone(ppl, "a.txt", *then, code=1)
    assert "No space left on device" in err and "Traceback" not in err
    assert contents(tmp_path / "out" / "a") == before


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
