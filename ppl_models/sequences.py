"""Sequences as tensors (..., T, D): the past of each frame, padding, and their checks."""

from __future__ import annotations

import torch
from torch import Tensor

from ppl_models.errors import InputError

Moments = tuple[Tensor, Tensor]
"""Mean and scale of a diagonal Normal."""


def shift(x: Tensor) -> Tensor:
    """Return x_{t-1} at frame t, zeros at the first: (..., T, D) -> (..., T, D)."""
    return torch.cat([torch.zeros_like(x[..., :1, :]), x[..., :-1, :]], -2)


def clean(s: Tensor, mask: Tensor | None) -> Tensor:
    """Return s with zeros in the frames that do not exist, so that nothing there is read."""
    return s if mask is None else torch.where(mask[..., None], s, torch.zeros_like(s))


def draw(moments: Moments) -> Tensor:
    """Draw from N(mean, diag scale^2), reparametrised."""
    mean, scale = moments
    return mean + scale * torch.randn_like(mean)


def check_paths(s: Tensor, mask: Tensor | None, data_dim: int) -> None:
    """Raise InputError unless s is (B, T, D) and the mask (B, T) has existing frames first."""
    if s.dim() != 3 or s.shape[-1] != data_dim or 0 in s.shape:
        wanted, cure = f"(paths, frames, {data_dim})", "stack padded paths, and pass a mask"
        raise InputError("s", f"shape {tuple(s.shape)}", wanted, cure)
    if mask is None:
        return
    if mask.shape != s.shape[:2] or mask.dtype != torch.bool:
        found, wanted = f"{tuple(mask.shape)}, {mask.dtype}", f"{tuple(s.shape[:2])}, torch.bool"
        raise InputError("mask", found, wanted, "give True for every frame that exists")
    if bool((mask[:, 1:] & ~mask[:, :-1]).any()):
        found, wanted = "a frame after a missing one", "the existing frames first, then padding"
        raise InputError("mask", found, wanted, "cut paths at their gaps")
