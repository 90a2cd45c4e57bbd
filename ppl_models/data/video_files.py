"""Videos in a user's files: NumPy's, an animated GIF, or a folder of pictures.

Films compressed as such (AVI, MP4) are not read: ffmpeg makes a folder of pictures of one. Files
may come from strangers: nothing pickled is read, and no more than `LARGEST` bytes of frames.
"""

from __future__ import annotations

import os
import re
import shlex
import struct
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ppl_models.data.arrays import read_numbers
from ppl_models.data.video import check_video
from ppl_models.errors import InputError

LARGEST = 2**30
"""Bytes of frames, uint8, that a GIF or a folder may have: half an hour of 64 x 64 in colour."""
MOST_FRAMES = 100_000
"""Frames that a GIF or a folder may have."""
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm")
"""What is read in a folder, by ending."""
FILMS = (".avi", ".mp4", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v", ".wmv")
_PICTURE_FORMATS = ("PNG", "JPEG", "BMP", "PPM")
_GREY = ("1", "L", "LA")
_COLOUR = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_DAMAGED = (
    *(ValueError, SyntaxError, EOFError, OSError, TypeError, KeyError, IndexError),
    *(struct.error, OverflowError, MemoryError, NotImplementedError),
)

Bytes = NDArray[np.uint8]


class Clips(NamedTuple):
    """B clips of up to T frames."""

    frames: Bytes
    """(B, T, H, W), or in colour (B, T, H, W, 3)."""
    mask: NDArray[np.bool_]
    """Which frames exist (B, T): the first so many of each clip."""


def read_video(path: str | os.PathLike[str]) -> Bytes:
    """Read a video.

    Parameters
    ----------
    path
        ``.npz`` with an array ``frames``, ``.npy``, ``.gif``, or a folder of pictures in the order
        of the numbers in their names (2 before 10), then of the letters.

    Returns
    -------
    numpy.ndarray
        uint8 (T, H, W), or in colour (T, H, W, 3). A GIF or a folder that has greys alone is grey,
        however it stores them; what is transparent has the colour that it hides.

    Raises
    ------
    InputError
        Damaged; of another kind; pictures of different sizes, or of more than 8 bits; more than
        `LARGEST` bytes or `MOST_FRAMES` frames; or no video by `check_video`.
    OSError
        It cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        return check_video(_stacked(_folder(path), str(path)), str(path))
    kind = path.suffix.lower()
    if kind in (".npz", ".npy"):
        return check_video(_array(path), f"{path}, array 'frames'")
    if kind == ".gif":
        return check_video(_stacked(_gif(path), str(path)), str(path))
    path.stat()  # a file that is not there is that first
    wanted = "a .npz with frames, .npy, .gif or a folder of pictures"
    cure = "give the folder that it is in" if kind in PICTURES else to_pictures(path)
    raise InputError(str(path), f"a file of kind {kind or '(none)'}", wanted, cure)


def read_clips(path: str | os.PathLike[str]) -> Clips:
    """Read clips from an ``.npz`` file: ``frames``, uint8 (B, T, H, W) or (B, T, H, W, 3).

    An array ``mask`` (B, T) of truth values says which frames exist, where clips are of different
    lengths: the first so many of each clip, two at least. Without it, all do.

    Raises
    ------
    InputError
        No such arrays (it names those that there are), or not as they should be.
    OSError
        It cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        cure = "frames = read_video(folder); np.savez(file, frames=frames[None])"
        raise InputError(str(path), "a folder", "an .npz file of clips", cure)
    arrays = read_numbers(path, "frames")
    frames = check_video(_named(arrays, path), f"{path}, array 'frames'", batch=True)
    mask = arrays.get("mask", np.ones(frames.shape[:2], bool))
    where, wanted = f"{path}, array 'mask'", f"truth values {frames.shape[:2]}"
    if mask.dtype.kind != "b":
        raise InputError(where, f"{mask.dtype}", wanted, "mask.astype(bool)")
    if mask.shape != frames.shape[:2]:
        cure = "give one truth value for each frame, or no mask if all exist"
        raise InputError(where, f"shape {mask.shape}", wanted, cure)
    lengths = mask.sum(1)
    if (mask != (np.arange(mask.shape[1]) < lengths[:, None])).any():
        cure = "move the frames of each clip to its front, and fill up at its end"
        raise InputError(where, "frames that are missing amid others", wanted, cure)
    if lengths.min() < 2:
        found = f"clip {int(lengths.argmin())} has {lengths.min()} frames"
        cure = "leave it out: frames[mask.sum(1) > 1], mask[mask.sum(1) > 1]"
        raise InputError(where, found, "two frames or more in each clip", cure)
    return Clips(frames, mask)


def read_pictures(files: Iterable[Path], where: str) -> Bytes:
    """Read pictures, one a frame, in the order given: (T, H, W) or (T, H, W, 3).

    Raises
    ------
    InputError
        As `read_video`.
    """
    return _stacked((_picture(file) for file in files), where)


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures of a folder in the order of the numbers, then of the letters."""
    files = [f for f in folder.iterdir() if f.suffix.lower() in PICTURES and f.name[0] != "."]
    return sorted(files, key=by_number)


def by_number(path: Path) -> list[tuple[int, int, str]]:
    """Return a key that sorts names as numbers where they have digits."""
    parts = re.split("([0-9]+)", path.name)
    return [(0, int(p), p) if i % 2 else (1, 0, p) for i, p in enumerate(parts)]


def to_pictures(film: Path) -> str:
    """Return the command that makes a folder of pictures of a film."""
    folder = shlex.quote(str(film.with_suffix("")) + "_frames")
    return f"mkdir {folder}; ffmpeg -i {shlex.quote(str(film))} {folder}/%06d.png; give the folder"


def _array(path: Path) -> NDArray[Any]:
    """Read the one array of a ``.npy`` file, or ``frames``."""
    return _named(read_numbers(path, "frames"), path)


def _named(arrays: dict[str, NDArray[Any]], path: Path) -> NDArray[Any]:
    """Return the array ``frames``."""
    if "frames" not in arrays:
        found = f"arrays {', '.join(arrays)}" if arrays else "no arrays"
        cure = "np.savez(file, frames=...), uint8"
        raise InputError(str(path), found, "an array named frames", cure)
    return arrays["frames"]


def _folder(path: Path) -> Iterator[Bytes]:
    """Yield the pictures of a folder."""
    files = pictures_in(path)
    if not files:
        films = [f for f in path.iterdir() if f.suffix.lower() in FILMS]
        found = f"no picture, and {len(films)} films" if films else "no picture"
        cure = to_pictures(films[0]) if films else "check the path"
        raise InputError(str(path), found, f"pictures ({', '.join(PICTURES)})", cure)
    if len(files) > MOST_FRAMES:
        raise _too_many(str(path), f"{len(files):,} pictures")
    return map(_picture, files)


def _picture(path: Path) -> Bytes:
    """Read one picture."""
    return next(_frames(path, _PICTURE_FORMATS))


def _gif(path: Path) -> Iterator[Bytes]:
    """Yield the frames of a GIF."""
    return _frames(path, ("GIF",))


def _frames(path: Path, formats: tuple[str, ...]) -> Iterator[Bytes]:
    """Yield the frames of a file, (H, W) or (H, W, 3), with what is wrong said."""
    with path.open("rb") as file:  # its own errors first
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                image = Image.open(file, formats=formats)
            yield _levels(image, path)
            while _next(image):
                yield _levels(image, path)
        except InputError:
            raise
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            found, cure = "a picture with too many pixels", "make it smaller"
            wanted = f"at most {Image.MAX_IMAGE_PIXELS} pixels"
            raise InputError(str(path), found, wanted, cure) from error
        except _DAMAGED as error:
            said = " ".join(str(error).split())[:200] or type(error).__name__
            wanted = f"a whole file of kind {', '.join(formats)}"
            raise InputError(str(path), f"damaged ({said})", wanted, "write it again") from error


def _next(image: Image.Image) -> bool:
    """Go to the next frame, if there is one."""
    try:
        image.seek(image.tell() + 1)
    except EOFError:
        return False
    return True


def _levels(image: Image.Image, path: Path) -> Bytes:
    """Return the frame that an image is at, of 8 bits."""
    if image.mode not in _GREY + _COLOUR:
        cure = "save it with 8 bits a channel"
        raise InputError(str(path), f"pixels of kind {image.mode}", "grey or colours", cure)
    if image.width * image.height > LARGEST // 3:
        raise _too_many(str(path), f"a picture of {image.width} x {image.height}")
    return np.asarray(image.convert("L" if image.mode in _GREY else "RGB"))


def _stacked(frames: Iterable[Bytes], where: str) -> Bytes:
    """Stack frames of one size: grey if all that they have is grey."""
    kept: list[Bytes] = []
    held = 0
    for frame in frames:
        if kept and frame.shape[:2] != kept[0].shape[:2]:
            found = f"frame {len(kept)} of {frame.shape[:2]} after others of {kept[0].shape[:2]}"
            raise InputError(where, found, "pictures of one size", "resize them, or sort them out")
        if frame.ndim == 3 and (frame == frame[..., :1]).all():
            frame = frame[..., 0].copy()
        kept.append(frame)
        held += frame.nbytes
        if held > LARGEST or len(kept) > MOST_FRAMES:
            raise _too_many(where, f"over {len(kept) - 1:,} frames of {frame.shape[:2]}")
    if all(frame.ndim == 2 for frame in kept):
        return np.stack(kept)
    return np.stack([f if f.ndim == 3 else np.repeat(f[..., None], 3, -1) for f in kept])


def _too_many(where: str, found: str) -> InputError:
    """Return the error for frames that are too many, or too large."""
    wanted = f"at most {MOST_FRAMES:,} frames, and {LARGEST:,} bytes of them"
    cure = "cut it in parts, or save it as .npy: np.save(file, frames), uint8"
    return InputError(where, found, wanted, cure)
