"""Frames of grey levels, as the metrics of videos take them: checked, and made tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppl_models.errors import InputError

Frames = Tensor | NDArray[Any]
_MOST_CHANNELS = 4  # a last dim of so many or fewer is one of colours, not a row of pixels


def as_frames(argument: str, frames: Frames, colour: bool) -> Tensor:
    """Return frames (..., T, H, W), or (..., T, 3, H, W) in colour, as a tensor of bytes.

    Raises
    ------
    InputError
        They are no array of uint8, have another number of dims, colours last, or no frame.
    """
    if not isinstance(frames, Tensor | np.ndarray):
        cure = f"torch.as_tensor({argument})"
        raise InputError(argument, f"a {type(frames).__name__}", "an array of uint8", cure)
    if frames.dtype not in (torch.uint8, np.uint8):
        raise _not_bytes(argument, frames)
    shape, form = tuple(frames.shape), "(..., T, 3, H, W)" if colour else "(..., T, H, W)"
    if len(shape) < 3 + colour or 0 in shape:
        cure = "give one frame a dim of time: frames[None]"
        raise InputError(argument, f"shape {shape}", f"{form}, nothing empty", cure)
    if shape[-1] <= _MOST_CHANNELS < shape[-2]:
        cure = "put colours before rows: " + ("np.moveaxis" if _numpy(frames) else "torch.movedim")
        found = f"shape {shape}, with colours last"
        raise InputError(argument, found, form, f"{cure}({argument}, -1, -3)")
    if colour and shape[-3] != 3:
        raise InputError(argument, f"shape {shape}", form, "leave colour=True out for grey frames")
    return as_tensor(frames)


def as_pair(truth: Frames, predicted: Frames, colour: bool) -> tuple[Tensor, Tensor]:
    """Return both as tensors of bytes; predicted may have more leading dims, those of samples.

    Raises
    ------
    InputError
        As `as_frames`, or the shapes differ.
    """
    one, other = as_frames("truth", truth, colour), as_frames("predicted", predicted, colour)
    if other.shape[max(other.ndim - one.ndim, 0) :] != one.shape:
        found = f"shape {tuple(other.shape)}, where truth has {tuple(one.shape)}"
        expected = f"{tuple(one.shape)}, or (samples, *{tuple(one.shape)})"
        cure = "cut both to the same clips, frames and pixels (resize_frames of ppl_models.data)"
        raise InputError("predicted", found, expected, cure)
    return one, other


def as_tensor(numbers: Tensor | NDArray[Any]) -> Tensor:
    """Return a tensor of the same memory, or of a copy where torch cannot share it."""
    if isinstance(numbers, Tensor):
        return numbers
    shared = numbers.flags.writeable and all(step >= 0 for step in numbers.strides)
    return torch.from_numpy(numbers if shared else numbers.copy())


def _numpy(frames: Frames) -> bool:
    return isinstance(frames, np.ndarray)


def _not_bytes(argument: str, frames: Frames) -> InputError:
    numbers = as_tensor(frames)
    found, expected = f"{frames.dtype} frames", "uint8, grey levels 0 to 255"
    bad = int((~numbers.isfinite()).sum())
    if bad:
        found, cure = f"{found}, {bad} numbers not finite", "look for what made them NaN"
        return InputError(argument, found, expected, cure)
    to_bytes = "astype('uint8')" if _numpy(frames) else "to(torch.uint8)"
    scaled = f"(255 * {argument})" if numbers.is_floating_point() else argument
    rounded = ".round()" if numbers.is_floating_point() else ""
    cure = f"{scaled}{rounded}.clip(0, 255).{to_bytes}"
    if numbers.is_floating_point() and numbers.max() > 2:  # it has grey levels already
        cure = f"{argument}.round().clip(0, 255).{to_bytes}"
    if numbers.dtype is torch.bool:
        cure = f"(255 * {argument}).{to_bytes}"
    return InputError(argument, found, expected, cure)
