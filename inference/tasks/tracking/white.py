"""The draws behind a bound of tracks: the same for a clip alone and in any batch."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guides.dvae import White
from inference.randomness import derive
from inference.tasks.tracking.batch import Batch


def white_of(batch: Batch, objects: int, latent_dim: int, size: int, seed: int) -> White:
    """Draw standard normal numbers, ``size`` for each source of each sequence.

    They begin at a seed made of ``seed`` and the sequence's detections, whatever their order, and
    go on frame by frame: neither other sequences nor padding change them.
    """
    length, width = batch.o.shape[1], batch.o.shape[-1]
    shape = length, size, objects, 2 * width + latent_dim
    draws = []
    for o, mask in zip(batch.o, batch.mask, strict=True):
        rng = np.random.default_rng(derive(seed, _key(o.numpy(), mask.numpy())))
        draws.append(torch.as_tensor(rng.standard_normal(shape)))
    each: Tensor = torch.stack(draws).permute(2, 0, 3, 1, 4)  # (R, B, N, T, 2 D + L)
    one, two, latent = each.split([width, width, latent_dim], -1)
    return White(torch.stack([one, two]), latent)


def _key(o: NDArray[np.float64], mask: NDArray[np.bool_]) -> int:
    """A number for detections (T, K, D), those of a frame in any order."""
    rows = np.column_stack([np.nonzero(mask)[0], o[mask]])
    return zlib.crc32(rows[np.lexsort(rows.T)].tobytes())
