"""Images of a video, one a frame: which file is which frame, and reading one.

Files with numbers at the end of their names, as MOTChallenge's ``000001.jpg``, are the frames of
these numbers; else the first file, in the order of names, is frame 1.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from ppl_models.errors import InputError

FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".webp": "WEBP"}
"""What is read, by the ends of names."""
MOST_PIXELS = 2**26
"""Pixels of an image: 67 million, a little more than 8K."""
_TROUBLE = (
    *(OSError, ValueError, SyntaxError, EOFError, MemoryError, OverflowError, TypeError),
    *(KeyError, IndexError),
)


class Images(NamedTuple):
    """Images of a video, all of one size."""

    paths: dict[int, Path]
    """By number of the frame."""
    size: tuple[int, int]
    """Width and height, pixels."""


def find_images(
    folder: str | os.PathLike[str],
    first: int,
    last: int,
    image_size: tuple[float, float] | None = None,
) -> Images:
    """Find the images of the frames ``first`` to ``last``, and look at what their headers say.

    Parameters
    ----------
    folder : path
        Of .jpg, .png, .bmp or .webp files; folders in it are not looked into.
    first, last : int
        Both included.
    image_size : (width, height), optional
        What is believed of them, pixels.

    Raises
    ------
    InputError
        No folder, no images, fewer than frames, one that is no image or too large, or of another
        size than the others or ``image_size``.
    """
    paths = _by_frame(Path(folder), first, last)
    size: tuple[int, int] | None = None
    for path in paths.values():
        with opened(path) as image:
            size = size or image.size
            _check_size(path, image.size, size, image_size)
    assert size is not None  # there is a frame
    return Images(paths, size)


def read_image(path: Path, size: tuple[int, int]) -> Image.Image:
    """Read an image whole, in red, green and blue.

    Raises
    ------
    InputError
        It is damaged, or not of this size.
    """
    with opened(path) as image:
        _check_size(path, image.size, size, None)
        return image.convert("RGB")


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open an image, of which only the header is read.

    Raises
    ------
    InputError
        It is no image or too large; or what is done with it within the block fails.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own limit, and what it thinks of odd headers
            with Image.open(path, formats=sorted(set(FORMATS.values()))) as image:
                _check_pixels(path, image.size)
                yield image
    except InputError:
        raise
    except Image.DecompressionBombError as error:  # beyond Pillow's own limit, which is higher
        found, expected = f"far too many pixels ({error})", f"at most {MOST_PIXELS:,} pixels"
        raise InputError(str(path), found, expected, "scale the images down") from error
    except _TROUBLE as error:
        words = " ".join(str(error).split())[:200] or type(error).__name__
        cure = "copy it again, or convert it to PNG"
        raise InputError(str(path), f"it cannot be read ({words})", "an image", cure) from error


def _by_frame(folder: Path, first: int, last: int) -> dict[int, Path]:
    """Return the file of each frame."""
    files = _files(folder)
    numbers = [re.search(r"(\d+)$", path.stem) for path in files]
    named = {int(n[1]): path for n, path in zip(numbers, files, strict=True) if n}
    frames = range(first, last + 1)
    if len(named) == len(files) and 0 not in named and all(t in named for t in frames):
        return {t: named[t] for t in frames}
    if len(files) < last:
        found = f"{len(files)} images, the last frame being {last}"
        cure = "give the folder of all of them, or name them by frames, as 000001.jpg"
        if first <= len(files):
            cure = f"follow fewer (--frames {first}:{len(files)}), or {cure}"
        raise InputError(str(folder), found, "an image for each frame", cure)
    return {t: files[t - 1] for t in frames}


def _files(folder: Path) -> list[Path]:
    """Return the images in a folder, in the order of their names."""
    expected = f"a folder of images ({', '.join(FORMATS)}), one a frame"
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        cure = f"give {folder.parent}" if folder.exists() else "check the path"
        raise InputError(str(folder), found, expected, cure)
    files = [path for path in folder.iterdir() if path.suffix.lower() in FORMATS]
    if not files:
        inner = sorted(path for path in folder.iterdir() if path.is_dir())
        with_some = [
            one for one in inner if any(p.suffix.lower() in FORMATS for p in one.iterdir())
        ]
        cure = f"give {with_some[0]}" if with_some else "check the path, or convert them to PNG"
        raise InputError(str(folder), "no image in it", expected, cure)
    return sorted(files, key=lambda path: path.name)


def _check_pixels(path: Path, size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MOST_PIXELS or not width * height:
        found, expected = f"{width:,} x {height:,} pixels", f"at most {MOST_PIXELS:,} pixels"
        cure = f"scale the images down, or raise {__name__}.MOST_PIXELS"
        raise InputError(str(path), found, expected, cure)


def _check_size(
    path: Path, found: tuple[int, int], others: tuple[int, int], told: tuple[float, float] | None
) -> None:
    """Look at whether an image is of the size of the others, and of that which is told."""
    text = "{:g}x{:g}".format
    if found != others:
        cure = f"scale it to {text(*others)}, or give the folder of one video"
        raise InputError(str(path), text(*found), f"{text(*others)}, as the first image", cure)
    if told is not None and found != tuple(told):
        cure = f"leave the image's size out, or pass {text(*found)} (--image-size {text(*found)})"
        raise InputError("image_size", f"{text(*told)}; {path} is {text(*found)}", "one size", cure)
