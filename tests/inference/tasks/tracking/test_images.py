"""Which image is which frame, and images that are none."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inference.tasks.tracking import Images, find_images
from inference.tasks.tracking import images as module
from inference.tasks.tracking.images import read_image
from ppl_models.errors import InputError
from tests.inference.tasks.tracking.pictured import bomb, images, numbered


def names(found: Images) -> dict[int, str]:
    return {frame: path.name for frame, path in found.paths.items()}


def test_numbers_in_names_are_frames(tmp_path: Path) -> None:
    images(tmp_path, numbered(3, 9))
    found = find_images(tmp_path, 4, 6)
    assert names(found) == {t: f"{t:06d}.png" for t in (4, 5, 6)} and found.size == (160, 120)
    late = images(tmp_path / "late", ["cam2_1000007.png", "cam2_1000008.png"])
    assert names(find_images(late, 10**6 + 7, 10**6 + 8))[10**6 + 8] == "cam2_1000008.png"


@pytest.mark.parametrize(
    "given",
    [
        ["c.png", "a.png", "b.png"],
        ["000000.png", "000001.png", "000002.png"],  # frames count from 1
        ["000010.png", "000020.png", "000030.png"],
        ["1_a.png", "2_b.png", "3.png"],
    ],
)
def test_else_the_first_in_the_order_of_names_is_frame_1(tmp_path: Path, given: list[str]) -> None:
    images(tmp_path, given)
    found = find_images(str(tmp_path), 2, 3)
    assert names(found) == dict(zip((2, 3), sorted(given)[1:], strict=True))


@pytest.mark.parametrize("end", [".jpg", ".JPEG", ".png", ".bmp", ".webp"])
def test_formats(tmp_path: Path, end: str) -> None:
    images(tmp_path, numbered(1, 2, end))
    (tmp_path / "notes.txt").write_text("mine")
    assert find_images(tmp_path, 1, 2, (160.0, 120.0)).size == (160, 120)


def test_grey_and_transparent_images_are_read_in_colour(tmp_path: Path) -> None:
    for mode in ("L", "RGBA", "P", "I;16", "1"):
        Image.new(mode, (20, 10)).save(tmp_path / "1.png")
        assert read_image(tmp_path / "1.png", (20, 10)).mode == "RGB"


@pytest.mark.parametrize(
    ("make", "span", "message"),
    [
        (lambda folder: None, (1, 2), "no such folder.*check the path"),
        (lambda folder: folder.write_text("a"), (1, 2), "saw a file.*give "),
        (lambda folder: folder.mkdir(), (1, 2), "no image in it.*check the path"),
        (lambda folder: images(folder, ["1.tiff"]), (1, 2), "no image in it.*convert them to PNG"),
        (lambda folder: images(folder / "img1", ["1.png"]), (1, 2), "no image in it.*give .*img1"),
        (lambda folder: images(folder, numbered(1, 4)), (2, 5), r"4 images.*--frames 2:4"),
        (
            lambda folder: images(folder, numbered(1, 4)),
            (7, 9),
            r"4 images.*give the folder of all",
        ),
        (lambda folder: images(folder, numbered(2, 4)), (1, 4), r"3 images.*--frames 1:3"),
    ],
)
def test_folders_without_the_images_are_named(
    tmp_path: Path, make: Callable[[Path], Any], span: tuple[int, int], message: str
) -> None:
    make(tmp_path / "shown")
    with pytest.raises(InputError, match=f"(?s)shown.*{message}"):
        find_images(tmp_path / "shown", *span)


def test_the_cures_cure(tmp_path: Path) -> None:
    folder = images(tmp_path / "seq" / "img1", numbered(1, 4))
    with pytest.raises(InputError) as error:
        find_images(tmp_path / "seq", 1, 4)
    assert find_images(error.value.cure.removeprefix("give "), 1, 4).paths[4].parent == folder
    with pytest.raises(InputError) as error:
        find_images(folder / "000001.png", 1, 4)
    assert find_images(error.value.cure.removeprefix("give "), 1, 4)
    assert find_images(folder, 2, 4)  # as --frames 2:4 would


@pytest.mark.parametrize(
    "content",
    [b"", b"\x89PNG\r\n\x1a\n", b"no image", b"\x80\x04.", b"\xff\xd8\xff\xe0" + bytes(50)],
)
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes) -> None:
    images(tmp_path, numbered(1, 3))
    (tmp_path / "000002.png").write_bytes(content)
    with pytest.raises(InputError, match="(?s)000002.png.*cannot be read.*convert it to PNG"):
        find_images(tmp_path, 1, 3)


def test_a_damaged_image_is_named_when_it_is_read(tmp_path: Path) -> None:
    images(tmp_path, ["1.png", "1.jpg"], (300, 200))
    for name in ("1.png", "1.jpg"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) * 2 // 3])
        with pytest.raises(InputError, match=f"(?s){name}.*cannot be read"):
            read_image(tmp_path / name, (300, 200))


def test_a_decompression_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb(tmp_path / "1.png")
    tracemalloc.start()
    try:
        for read in (lambda: find_images(tmp_path, 1, 1), lambda: opened(tmp_path / "1.png")):
            with pytest.raises(InputError, match="(?s)far too many pixels.*at most"):
                read()
        assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    finally:
        tracemalloc.stop()


def opened(path: Path) -> Image.Image:
    return read_image(path, (30_000, 30_000))


def test_an_image_a_little_too_large_is_named_and_the_cure_cures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images(tmp_path, ["1.png"])
    monkeypatch.setattr(module, "MOST_PIXELS", 160 * 120 - 1)
    with pytest.raises(InputError, match="(?s)160 x 120 pixels.*MOST_PIXELS"):
        find_images(tmp_path, 1, 1)
    monkeypatch.setattr(module, "MOST_PIXELS", 160 * 120)
    assert find_images(tmp_path, 1, 1)


def test_sizes_that_differ_are_named(tmp_path: Path) -> None:
    images(tmp_path, numbered(1, 3))
    with pytest.raises(InputError, match="(?s)640x480; .* is 160x120.*--image-size 160x120"):
        find_images(tmp_path, 1, 3, (640, 480))
    images(tmp_path, ["000003.png"], (80, 60))
    assert find_images(tmp_path, 1, 2)
    with pytest.raises(InputError, match="(?s)000003.png.*80x60.*scale it to 160x120"):
        find_images(tmp_path, 1, 3)
