r"""Frames composed of moved pixels: kernels shift the last one, masks say which shift is where.

    s'(x, y) = sum_k m_k(x, y) sum_{i, j} K_k(i, j) s(x + i, y + j) + sum_l m_l(x, y) other_l(x, y)

Kernels are positive and sum to one, and so do the masks at every pixel: what is composed of levels
from 0 to 1 lies there too. Beyond its edge a frame is black.

C. Finn, I. Goodfellow, S. Levine, "Unsupervised learning for physical interaction through video
prediction", NeurIPS 2016, arXiv:1605.07157 (CDNA: equation 1, sections 3.1 and 3.2).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

FLOOR = 1e-12
"""Added to each weight of a kernel, so that none sums to zero."""


def normalised_kernels(raw: Tensor, side: int) -> Tensor:
    """Return kernels (..., K, side^2), positive and of sum 1, of numbers (..., K side^2).

    relu(raw - FLOOR) + FLOOR, normalised, as in the published network.
    """
    kernels = (raw.unflatten(-1, (-1, side * side)) - FLOOR).relu() + FLOOR
    return kernels / kernels.sum(-1, keepdim=True)


def still_kernel(side: int) -> Tensor:
    """Return the kernel (side^2,) that leaves a frame as it is."""
    kernel = torch.zeros(side * side)
    kernel[side * side // 2] = 1.0
    return kernel


def moved(frames: Tensor, kernels: Tensor) -> Tensor:
    """Return frames (..., C, S, S), moved by K kernels (..., K, side^2) each: (..., K, C, S, S).

    Weight (i, j) of a kernel brings the pixel i rows below and j columns to the right of the one it
    is written to, both counted from the middle. Batch dims broadcast.
    """
    side = round(kernels.shape[-1] ** 0.5)
    channels, height, width = frames.shape[-3:]
    flat = frames.reshape(-1, 1, height, width)
    patches = nn.functional.unfold(flat, side, padding=side // 2)
    patches = patches.reshape(*frames.shape[:-2], side * side, height * width)
    out = kernels[..., None, :, :] @ patches
    return out.unflatten(-1, (height, width)).transpose(-4, -3)


def composed(masks: Tensor, *layers: Tensor) -> Tensor:
    """Return sum_k m_k layer_k (..., C, S, S) of masks (..., K, S, S), softmax of raw numbers.

    Each of the layers is (..., k, C, S, S); their k sum to K, and batch dims broadcast.
    """
    weights = masks.softmax(-3)[..., None, :, :]
    parts = weights.split([layer.shape[-4] for layer in layers], -4)
    out = [(part * layer).sum(-4) for part, layer in zip(parts, layers, strict=True)]
    total: Tensor = sum(out[1:], out[0])
    return total
