"""Moving MNIST: clips of digits that go about in a frame, with all that is true of them.

The clips of Denton and Fergus (2018) and of Franceschi et al. (2020), of any size, and with each
digit's exact place, velocity and bounces. `bouncing` says how digits move.
"""

from __future__ import annotations

import colorsys
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from ppl_models.data.bouncing import PUBLISHED, Box, box, walk
from ppl_models.data.pixels import block_means, resized
from ppl_models.errors import InputError
from ppl_models.inputs import check_count

_CHUNK = 512  # clips painted at a time: their canvases stay in the processor's cache

Bytes = NDArray[np.uint8]


class MovingDigits(NamedTuple):
    """N clips of T frames with up to D digits each. A digit that is absent has NaN and -1."""

    frames: Bytes
    """Grey levels (N, T, S, S), or red, green and blue (N, T, 3, S, S)."""
    places: NDArray[np.float64]
    """Top left corners (N, T, D, 2): row and column, in pixels of the frame, not rounded."""
    velocities: NDArray[np.float64]
    """Pixels a frame (N, T, D, 2), with which the digit leaves frame t."""
    bounces: NDArray[np.bool_]
    """Whether it met a wall on its way from frame t - 1 to t (N, T, D)."""
    labels: NDArray[np.int64]
    """(N, D); -1 without labels."""
    digits: Bytes
    """Each digit alone (N, D, d, d), in grey, at a whole pixel of the frame."""
    images_index: NDArray[np.int64]
    """Which image it is (N, D)."""


def moving_digits(
    images: Tensor | NDArray[Any],
    labels: Tensor | NDArray[Any] | None = None,
    *,
    size: int,
    length: int = 15,
    num_digits: int | tuple[int, int] = 2,
    side: int = 32,
    process: str = "srvp",
    max_speed: int = 4,
    colour: bool = False,
    seed: int = 0,
) -> MovingDigits:
    """Draw clips: digits, where they start, how they go, and the frames.

    Frames are painted on a canvas of at least 64 x 64 pixels, each digit at a whole pixel of it,
    sums limited to 255, and averaged over blocks: ``side=64`` gives the published frames and
    ``side=32`` these, halved.

    Parameters
    ----------
    images
        To choose from: (M, h, w) or square ones flat (M, h * w), uint8, or floats from 0 to 1.
    labels
        Whole numbers (M,).
    size, length
        N and T.
    num_digits
        In each clip; or the least and the most, of which each clip draws its own number.
    side
        Pixels along a wall.
    process
        "srvp": new velocities at the walls. "deterministic": mirrors. "svg": the first published
        process, with larger digits. See `bouncing`.
    max_speed
        In an axis, in pixels of a frame of 64 x 64 (the published 4: up to 2 in one of 32 x 32).
    colour
        Each digit has a bright hue of its own.
    seed
        Of all that is drawn.

    Raises
    ------
    InputError
        No images, or no images at all of grey levels; labels of another number; a count below one;
        an unknown process; a side below 8.
    """
    check_count("size", size)
    check_count("length", length)
    least, most = _counts(num_digits)
    within = box(side, process, max_speed)
    pictures = _grey(images)
    numbers = _numbers(labels, len(pictures))
    rng = np.random.default_rng(seed)
    index = rng.integers(len(pictures), size=(size, most))
    present = np.arange(most) < rng.integers(least, most + 1, (size, 1))
    factor = max(1, math.ceil(PUBLISHED / side))
    places, velocities, bounces = _paths(present, length, within, factor, rng)
    drawn = _resized(pictures, index, within.digit_side * factor) * present[..., None, None]
    hues = _hues(rng.uniform(size=index.shape)) if colour else None
    frames = _painted(drawn, places, present, hues, side, factor)
    labelled = np.where(present, numbers[index], -1)
    alone = block_means(drawn, factor)
    return MovingDigits(frames, places, velocities, bounces, labelled, alone, index)


def paint_digits(
    images: Tensor | NDArray[Any],
    index: NDArray[np.int64],
    places: NDArray[np.float64],
    *,
    side: int = 32,
    process: str = "srvp",
) -> Bytes:
    """Paint grey clips of digits at given places: those that `digit_futures` draws, say.

    Parameters
    ----------
    images
        Those of `moving_digits`.
    index
        Which image each digit is (N, D), as ``MovingDigits.images_index``.
    places
        Top left corners (N, T, D, 2), as ``MovingDigits.places``; NaN where there is no digit.
    side, process
        Those of the clips.

    Returns
    -------
    numpy.ndarray
        Frames (N, T, S, S), uint8: for a clip's own places, its frames.

    Raises
    ------
    InputError
        Shapes that do not go together, an image that is not there, a place outside the frame, NaN
        in some frames of a digit, or what `moving_digits` refuses.
    """
    within = box(side, process)
    pictures, index, places = _grey(images), np.asarray(index), np.asarray(places, np.float64)
    _check_index(index, places, len(pictures))
    absent = np.asarray(np.isnan(places).all((1, 3), keepdims=True))
    _check_places(np.where(absent, 0.0, places), within)
    factor = max(1, math.ceil(PUBLISHED / side))
    drawn = _resized(pictures, index, within.digit_side * factor)
    return _painted(drawn, places, ~absent[:, 0, :, 0], None, side, factor)


def _check_index(index: NDArray[Any], places: NDArray[np.float64], count: int) -> None:
    """Refuse an index (N, D) that is not of places (N, T, D, 2), or not of ``count`` images."""
    if places.ndim != 4 or places.shape[-1] != 2 or index.shape != places.shape[::2]:
        found = f"shape {places.shape} beside an index of {index.shape}"
        cure = "places (N, T, D, 2) and index (N, D), as moving_digits returns them"
        raise InputError("places", found, "(N, T, D, 2), D as the index (N, D) has it", cure)
    whole = index.dtype.kind in "iu"
    if not whole or (index.size and not (0 <= index.min() and index.max() < count)):
        found = f"numbers from {index.min()} to {index.max()}" if whole else f"dtype {index.dtype}"
        cure = "the images that moving_digits was given, and its images_index"
        raise InputError("index", found, f"whole numbers from 0 to {count - 1}", cure)


def _check_places(places: NDArray[np.float64], within: Box) -> None:
    """Refuse places of digits that are there, if one is outside the frame or unknown."""
    wanted = f"rows and columns from 0 to {within.room:g}"
    if np.isnan(places).any():
        cure = "a digit that is absent has NaN in all frames, and no other digit has any"
        raise InputError("places", "NaN in some frames of a digit", wanted, cure)
    if not ((places >= 0) & (places <= within.room + 1e-6)).all():
        found = f"numbers from {places.min():.3g} to {places.max():.3g}"
        cure = f"places.clip(0, {within.room:g})"
        raise InputError("places", found, wanted, cure)


def _paths(
    present: NDArray[np.bool_], length: int, within: Box, factor: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Draw starts at whole pixels of the canvas, and let the digits (N, D) go from there."""
    size, most = present.shape
    last = math.floor(within.room * factor + 1e-6)
    starts = rng.integers(0, last + 1, (size * most, 2)) / factor
    starts[~present.ravel()] = np.nan
    speeds = within.speeds(rng, (size * most, 2))
    speeds[~present.ravel()] = np.nan
    places, velocities, bounces = walk(starts, speeds, length, within, rng)
    shape = length, size, most, 2
    return (
        np.ascontiguousarray(places.reshape(shape).swapaxes(0, 1)),
        np.ascontiguousarray(velocities.reshape(shape).swapaxes(0, 1)),
        np.ascontiguousarray(bounces.reshape(shape[:3]).swapaxes(0, 1)),
    )


def _painted(
    drawn: Bytes,
    places: NDArray[np.float64],
    present: NDArray[np.bool_],
    hues: NDArray[np.float64] | None,
    side: int,
    factor: int,
) -> Bytes:
    """Paint frames (N, T, S, S), or (N, T, 3, S, S) with hues (N, D, 3) from 0 to 1."""
    size, length = places.shape[:2]
    channels = 1 if hues is None else 3
    frames = np.empty((size, length, channels, side, side), np.uint8)
    for start in range(0, size, _CHUNK):
        some = slice(start, start + _CHUNK)
        for channel in range(channels):
            inks = drawn[some]
            if hues is not None:
                shades = hues[some, :, channel, None, None]
                inks = np.rint(inks * shades).astype(np.uint8)
            frames[some, :, channel] = _film(inks, places[some], present[some], side, factor)
    return frames[:, :, 0] if hues is None else frames


def _film(
    inks: Bytes,
    places: NDArray[np.float64],
    present: NDArray[np.bool_],
    side: int,
    factor: int,
) -> Bytes:
    """Paint one channel of some clips (n, T, S, S): digits (n, D, d, d) at places (n, T, D, 2)."""
    count, length, most = places.shape[:3]
    digit_side = inks.shape[-1]
    canvas = np.zeros((count, side * factor, side * factor), np.uint8)
    windows = sliding_window_view(canvas, (digit_side, digit_side), (1, 2), writeable=True)
    corners = np.rint(np.nan_to_num(places) * factor).astype(np.intp)
    film = np.empty((count, length, side, side), np.uint8)
    for frame in range(length):
        canvas[:] = 0
        for digit in range(most):
            rows = np.flatnonzero(present[:, digit])
            where = rows, corners[rows, frame, digit, 0], corners[rows, frame, digit, 1]
            ink = inks[rows, digit]
            windows[where] = np.minimum(windows[where], ~ink) + ink  # at most 255
        film[:, frame] = block_means(canvas, factor)
    return film


def _resized(pictures: Bytes, index: NDArray[np.int64], digit_side: int) -> Bytes:
    """Return the pictures (..., d, d) of an index, resized if they are of another size."""
    if pictures.shape[1:] == (digit_side, digit_side):
        return pictures[index]
    used, inverse = np.unique(index, return_inverse=True)
    return resized(pictures[used], digit_side)[inverse.reshape(index.shape)]


def _hues(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return full colours (..., 3) of hues from 0 to 1."""
    wheel = np.array([colorsys.hsv_to_rgb(i / 360, 1, 1) for i in range(360)])
    return np.asarray(wheel[(angles * 360).astype(int)])


def _counts(num_digits: int | tuple[int, int]) -> tuple[int, int]:
    """Return the least and the most digits of a clip."""
    pair = (num_digits, num_digits) if isinstance(num_digits, int) else num_digits
    if not (isinstance(pair, tuple | list) and len(pair) == 2):
        cure = "give one number, 2; or the least and the most, (1, 2)"
        raise InputError("num_digits", repr(num_digits), "one or two whole numbers", cure)
    least, most = pair
    check_count("num_digits", least)
    check_count("num_digits", most, least)
    return least, most


def _grey(images: Tensor | NDArray[Any]) -> Bytes:
    """Return images as grey levels (M, h, w)."""
    pictures = np.asarray(images.detach().cpu() if isinstance(images, Tensor) else images)
    root = math.isqrt(pictures.shape[-1]) if pictures.ndim == 2 else 0
    if root and root * root == pictures.shape[-1]:
        pictures = pictures.reshape(-1, root, root)
    if pictures.ndim != 3 or not pictures.size:
        found, cure = f"shape {pictures.shape}", "mnist().train_images"
        raise InputError("images", found, "(M, h, w), or square ones (M, h * w), M > 0", cure)
    if pictures.dtype == np.uint8:
        return pictures
    if pictures.dtype.kind != "f":
        cure = "images.astype('uint8') if they are grey levels from 0 to 255"
        raise InputError("images", f"dtype {pictures.dtype}", "uint8, or floats from 0 to 1", cure)
    if not (pictures.min() >= 0 and pictures.max() <= 1):
        found = f"numbers from {pictures.min():.3g} to {pictures.max():.3g}"
        cure = "images.astype('uint8') if they are grey levels from 0 to 255"
        raise InputError("images", found, "floats from 0 (paper) to 1 (ink)", cure)
    return np.rint(pictures * 255).astype(np.uint8)


def _numbers(labels: Tensor | NDArray[Any] | None, count: int) -> NDArray[np.int64]:
    """Return the labels of the images, -1 if there are none."""
    if labels is None:
        return np.full(count, -1, np.int64)
    numbers = np.asarray(labels)
    if numbers.shape != (count,):
        found, cure = f"shape {numbers.shape}", "leave them away, or give one for each image"
        raise InputError("labels", found, f"({count},), one for each image", cure)
    return numbers.astype(np.int64)
