"""``ppl track --images``: frames with boxes, and images that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.inference.cli.detections import FILES, Ppl, calls, come_and_go, everyone, ppl
from tests.inference.tasks.tracking.pictured import bomb, images, numbered

__all__ = ["calls", "ppl"]
SIZE = (320, 200)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Forty frames: a file of detections, and images of the frames."""
    come_and_go(tmp_path / "a.txt")
    return images(tmp_path / "img1", numbered(1, 40), SIZE)


@pytest.mark.parametrize("objects", [[], ["--objects", "2", "--prior", "linear"]])
def test_frames_are_drawn_into_the_folder_of_the_answer(
    ppl: Ppl, tmp_path: Path, video: Path, objects: list[str]
) -> None:
    out, err = everyone(
        ppl, "a.txt", "--images", "img1", *objects, "--rate=25" if not objects else "--seed=0"
    )
    assert "frames/)" in out and not err
    folder = tmp_path / "out" / "a"
    assert {path.name for path in folder.iterdir()} == FILES | {"frames"}
    assert sorted(p.name for p in (folder / "frames").iterdir()) == numbered(1, 40, ".jpg")
    with Image.open(folder / "frames" / "000040.jpg") as image:
        assert image.size == SIZE
    assert "a/frames/000040.jpg" in (tmp_path / "out" / "SHA256SUMS").read_text()
    everyone(ppl, "a.txt", *objects)
    assert not (folder / "frames").exists()  # they are not of these tracks
    assert "frames" not in (tmp_path / "out" / "SHA256SUMS").read_text()


def test_the_image_size_is_that_of_the_images(
    ppl: Ppl, tmp_path: Path, video: Path, calls: list[dict[str, Any]]
) -> None:
    everyone(ppl, "a.txt", "--images", "img1", code=1)
    everyone(ppl, "a.txt", "--images", "img1", "--image-size", "320x200", code=1)
    everyone(ppl, "a.txt", "--images", "img1", "--objects", "2", code=1)
    everyone(ppl, "a.txt", code=1)
    assert [asked["image_size"] for asked in calls] == [SIZE, SIZE, SIZE, None]


@pytest.mark.parametrize("objects", [[], ["--objects", "2"]], ids=["whole", "known"])
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--images", "none"], 1, "none: saw no such folder"),
        (["--images", "a.txt"], 1, "a.txt: saw a file"),
        (["--images", "empty"], 1, "empty: saw no image in it"),
        (["--images", "few"], 1, "--frames 1:5"),
        (["--images", "words"], 1, "cannot be read"),
        (["--images", "bomb"], 1, "far too many pixels"),
        (["--images", "mixed"], 1, "scale it to 320x200"),
        (["--images", "img1", "--image-size", "640x480"], 1, "--image-size 320x200"),
        (["--images", "img1", "--images", "img1"], 2, "give one for each"),
    ],
)
def test_images_that_do_not_fit_are_named_before_any_work(
    ppl: Ppl,
    tmp_path: Path,
    video: Path,
    arguments: list[str],
    code: int,
    message: str,
    objects: list[str],
) -> None:
    (tmp_path / "empty").mkdir()
    images(tmp_path / "few", numbered(1, 5), SIZE)
    images(tmp_path / "mixed", numbered(1, 40), SIZE)
    images(tmp_path / "mixed", ["000040.png"], (9, 9))
    images(tmp_path / "words", numbered(1, 40), SIZE)
    (tmp_path / "words" / "000007.png").write_text("no image")
    images(tmp_path / "bomb", numbered(1, 40), SIZE)
    bomb(tmp_path / "bomb" / "000007.png")
    out, err = everyone(ppl, "a.txt", *arguments, *objects, code=code)
    assert message in err and "Traceback" not in err and not out
    assert not (tmp_path / "out").exists()


def test_the_cure_for_too_few_images_cures(ppl: Ppl, tmp_path: Path, video: Path) -> None:
    images(tmp_path / "few", numbered(1, 5), SIZE)
    everyone(ppl, "a.txt", "--images", "few", "--frames", "1:5")
    assert len(list((tmp_path / "out/a/frames").iterdir())) == 5


def test_an_image_that_is_damaged_inside_is_named_and_the_tracks_are_there(
    ppl: Ppl, tmp_path: Path, video: Path
) -> None:
    whole = (video / "000007.png").read_bytes()
    (video / "000007.png").write_bytes(whole[:-60])
    _, err = everyone(ppl, "a.txt", "--images", "img1", code=1)
    assert "000007.png" in err and "cannot be read" in err and "Traceback" not in err
    assert (tmp_path / "out/a/tracks.txt").is_file()
    (video / "000007.png").write_bytes(whole)
    everyone(ppl, "a.txt", "--images", "img1")


def test_several_files_have_their_own_images(ppl: Ppl, tmp_path: Path, video: Path) -> None:
    come_and_go(tmp_path / "b.txt")
    images(tmp_path / "wide", numbered(1, 40), (400, 200))
    folders = ["--images", "img1", "--images", "wide"]
    everyone(ppl, "a.txt", "b.txt", *folders, "--rate", "25")
    with Image.open(tmp_path / "out/b/frames/000001.jpg") as image:
        assert image.size == (400, 200)
    _, err = everyone(ppl, "a.txt", "b.txt", *folders, "--objects", "2", code=2)
    assert "several sizes" in err
