"""Videos as arrays: what one may be, windows of it, other sizes, and what models read.

A video is uint8: grey levels (T, H, W), or red, green and blue (T, H, W, 3). Models read floats
from 0 to 1, a frame flat: its channels one after the other, each row by row.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from ppl_models.data.pixels import block_means, resized
from ppl_models.errors import InputError
from ppl_models.inputs import check_count

Bytes = NDArray[np.uint8]
_LUMA = np.array([19595, 38470, 7471], np.uint32)  # ITU-R 601 in 65536ths, as Pillow's "L"


def check_video(frames: NDArray[Any], where: str = "frames", batch: bool = False) -> Bytes:
    """Return a video, or with ``batch`` clips (B, T, H, W[, 3]), once it is certain to be that.

    Raises
    ------
    InputError
        Another dtype than uint8, NaN, another shape, fewer than two frames, or no pixels. The cure
        speaks of the array as ``frames``.
    """
    if frames.dtype != np.uint8:
        raise InputError(where, _strange(frames), "grey levels, uint8", _as_bytes(frames))
    if cure := _other_shape(frames.shape, batch):
        wanted = "(B, T, H, W) or (B, T, H, W, 3)" if batch else "(T, H, W) or (T, H, W, 3)"
        raise InputError(where, f"shape {frames.shape}", wanted, cure)
    if frames.shape[int(batch)] < 2:
        cure = "give a video of two frames or more: a picture says nothing of motion"
        raise InputError(where, "one frame", "at least two frames", cure)
    return frames


def clips_of(frames: NDArray[Any], length: int, *, stride: int | None = None) -> NDArray[Any]:
    """Cut a video into clips of ``length`` frames.

    Parameters
    ----------
    frames
        (T, ...).
    length
        Frames of a clip.
    stride
        Frames from the start of one to the start of the next; by default ``length``, so that no
        frame is in two. What is left at the end is in none.

    Returns
    -------
    numpy.ndarray
        (N, length, ...), a copy.

    Raises
    ------
    InputError
        A video shorter than a clip, or a count below one.
    """
    check_count("length", length)
    stride = length if stride is None else stride
    check_count("stride", stride)
    frames = np.asarray(frames)
    if frames.ndim < 1 or len(frames) < length:
        found = f"{len(frames) if frames.ndim else 0} frames"
        cure = f"give a longer video, or ask for clips of {len(frames) if frames.ndim else 0}"
        raise InputError("frames", found, f"at least the {length} of a clip", cure)
    windows = sliding_window_view(frames, length, axis=0)[::stride]
    return np.ascontiguousarray(np.moveaxis(windows, -1, 1))


def to_grey(frames: Bytes) -> Bytes:
    """Return a video or clips in colour (..., H, W, 3) as grey levels (..., H, W).

    The luma of ITU-R 601, as Pillow has it. What is grey already stays as it is.
    """
    if not _is_colour(frames):
        return frames
    grey = np.empty(frames.shape[:-1], np.uint8)
    for i, picture in enumerate(frames):
        grey[i] = (picture @ _LUMA + 2**15) >> 16
    return grey


def resize_frames(frames: Bytes, side: int) -> Bytes:
    """Return a video or clips (..., H, W[, 3]) as frames of side x side pixels.

    The largest square in the middle is taken, so that nothing is stretched. Means over blocks,
    where its side is a multiple of ``side``; else antialiased.

    Raises
    ------
    InputError
        A side below one, no uint8, or fewer than three dims.
    """
    check_count("side", side)
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim < 3 or not frames.size:
        found = f"{frames.dtype} of shape {frames.shape}"
        cure = _as_bytes(frames) if frames.dtype != np.uint8 else "frames[None] for one picture"
        raise InputError("frames", found, "uint8 (..., H, W) or (..., H, W, 3)", cure)
    colour = _is_colour(frames)
    planes = np.moveaxis(frames, -1, -3) if colour else frames
    height, width = planes.shape[-2:]
    square = min(height, width)
    top, left = (height - square) // 2, (width - square) // 2
    planes = planes[..., top : top + square, left : left + square]
    if square % side == 0:
        small = block_means(planes, square // side)
    else:
        flat = planes.reshape(-1, square, square)
        small = resized(flat, side).reshape(*planes.shape[:-2], side, side)
    return np.ascontiguousarray(np.moveaxis(small, -3, -1) if colour else small)


def float_frames(frames: Tensor | Bytes) -> Tensor:
    """Return clips as video models read them: float32 (N, T, C * H * W) from 0 to 1.

    As `flat_frames`, otherwise.
    """
    return flat_frames(frames).float().div_(255)


def flat_frames(frames: Tensor | Bytes) -> Tensor:
    """Return clips with their frames flat, as bytes: uint8 (N, T, C * H * W).

    Parameters
    ----------
    frames
        uint8 (N, T, H, W), or in colour (N, T, 3, H, W) or (N, T, H, W, 3).

    Raises
    ------
    InputError
        Another dtype or shape.
    """
    clips = frames if isinstance(frames, Tensor) else _tensor(np.asarray(frames))
    if clips.ndim == 5 and clips.shape[2] != 3 and clips.shape[-1] == 3:
        clips = clips.movedim(-1, 2)
    shaped = clips.ndim == 4 or (clips.ndim == 5 and clips.shape[2] == 3)
    if not (shaped and clips.dtype == torch.uint8 and clips.numel()):
        found = f"{clips.dtype} of shape {tuple(clips.shape)}"
        wanted = "uint8 (N, T, H, W), (N, T, 3, H, W) or (N, T, H, W, 3)"
        cure = "frames[None]" if clips.ndim < 4 else "check_video(frames, batch=True) says what"
        raise InputError("frames", found, wanted, cure)
    return clips.flatten(2)


def grey_levels(s: Tensor, shape: tuple[int, ...]) -> Bytes:
    """Return flat frames as levels from 0 to 255, rounded and clipped: undoes `float_frames`.

    Parameters
    ----------
    s
        (..., D), floats; 0 is black and 1 is white.
    shape
        Of a frame: (H, W) or (3, H, W); or (H, W, 3), into which the channels are moved.

    Raises
    ------
    InputError
        D is not the number of values of such a frame, or a value is NaN.
    """
    if s.ndim < 1 or s.shape[-1] != math.prod(shape):
        found, cure = f"shape {tuple(s.shape)}", "give the shape that the frames had: (3, H, W)"
        raise InputError("s", found, f"(..., {math.prod(shape)}) for frames of {shape}", cure)
    if s.isnan().any():
        found, cure = f"{int(s.isnan().sum())} NaN", "train again with a smaller learning rate"
        raise InputError("s", found, "numbers", cure)
    levels = (s.detach().double().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    if len(shape) == 3 and shape[-1] == 3 and shape[0] != 3:
        planes = levels.reshape(*s.shape[:-1], 3, *shape[:2])
        return np.ascontiguousarray(np.moveaxis(planes, -3, -1))
    return levels.reshape(*s.shape[:-1], *shape)


def _tensor(frames: NDArray[Any]) -> Tensor:
    """Return an array as torch has it; one that may not be written to is copied."""
    return torch.from_numpy(np.require(frames, requirements=["C", "W"]))


def _is_colour(frames: NDArray[Any]) -> bool:
    """Whether the last dim is that of red, green and blue."""
    return frames.ndim > 3 and frames.shape[-1] == 3


def _strange(frames: NDArray[Any]) -> str:
    """Say what numbers that are not uint8 are."""
    text = f"{frames.dtype} of shape {frames.shape}"
    if frames.dtype.kind not in "iuf" or not frames.size:
        return text
    if count := int(np.isnan(frames).sum()) if frames.dtype.kind == "f" else 0:
        return f"{text}, with {count} NaN"
    return f"{text}, from {frames.min():.4g} to {frames.max():.4g}"


def _as_bytes(frames: NDArray[Any]) -> str:
    """Return an expression that makes uint8 of numbers named ``frames``."""
    if frames.dtype.kind == "b":
        return "frames.astype('uint8') * np.uint8(255)"
    if frames.dtype.kind != "f":
        return "frames.clip(0, 255).astype('uint8')"
    numbers = np.nan_to_num(frames)
    name = "np.nan_to_num(frames)" if np.isnan(frames).any() else "frames"
    if numbers.size and numbers.max() <= 1:
        return f"({name}.clip(0, 1) * 255).round().astype('uint8')"
    return f"{name}.clip(0, 255).round().astype('uint8')"


def _other_shape(shape: tuple[int, ...], batch: bool) -> str:
    """Return the cure for a shape that is not a video's (or that of clips), or nothing."""
    first = 2 if batch else 1  # the first dim of a frame
    dims = len(shape) - first  # 2 for a grey frame, 3 for one in colour
    if 0 in shape:
        return "write the file again, with frames that have pixels"
    if (dims == 2 and shape[-1] != 3) or (dims == 3 and shape[-1] == 3):
        return ""
    if dims == 3 and shape[-1] in (1, 2):
        return "frames[..., 0]"
    if dims == 3 and shape[-1] == 4:
        return "frames[..., :3]"
    if dims == 3 and shape[first] in (1, 3):
        return (
            f"np.moveaxis(frames, {first}, -1)"
            if shape[first] == 3
            else f"frames[{', '.join(':' * first)}, 0]"
        )
    if batch and len(shape) in (3, 4):
        return "frames[None]"
    return "frames[0] for the first of them" if len(shape) > 3 else "give a video, not one picture"
