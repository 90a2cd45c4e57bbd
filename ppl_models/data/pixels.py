"""Pictures of other sizes: means over blocks, and an antialiased filter for what is no block."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_AT_ONCE = 2**22  # pixels that are resized as floats at a time


def block_means(pictures: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Average pictures (..., h, w) over blocks of factor x factor pixels, to the nearest level."""
    if factor == 1:
        return pictures
    kind = np.uint16 if factor <= 16 else np.uint32
    rows = np.add.reduce([pictures[..., i::factor, :] for i in range(factor)], 0, kind)
    total = np.add.reduce([rows[..., i::factor] for i in range(factor)], 0, kind)
    return np.asarray((total + factor**2 // 2) // factor**2, np.uint8)


def resized(pictures: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return pictures (N, h, w) as (N, side, side), by a triangle filter as Pillow's BILINEAR."""
    count, height, width = pictures.shape
    down, across = _filter(height, side), _filter(width, side)
    small = np.empty((count, side, side), np.uint8)
    step = max(1, _AT_ONCE // (height * width))
    for start in range(0, count, step):
        some = pictures[start : start + step].astype(np.float64)
        small[start : start + step] = np.rint(down @ some @ across.T)
    return small


def _filter(count: int, wanted: int) -> NDArray[np.float64]:
    """Return the (wanted, count) weights of a triangle filter as wide as a wanted pixel."""
    scale = count / wanted
    centres = (np.arange(wanted) + 0.5)[:, None] * scale
    distance = np.abs(np.arange(count) + 0.5 - centres)
    weights = (1 - distance / max(scale, 1.0)).clip(0)
    return np.asarray(weights / weights.sum(1, keepdims=True))
