"""Sequences as tensors (..., T, D): the past of each frame, padding, checks; and their models."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyro
import torch
from torch import Tensor, nn

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
        raise InputError("mask", found, wanted, "give a bool for every frame")
    if bool((mask[:, 1:] & ~mask[:, :-1]).any()):
        found, wanted = "a frame after a missing one", "the existing frames first, then padding"
        raise InputError("mask", found, wanted, "cut paths at their gaps")


@contextmanager
def sequence_plate(
    s: Tensor | None, mask: Tensor | None, data_dim: int, size: int = 1, length: int = 60
) -> Iterator[int]:
    """Enter the plate ``data`` of B sequences s (B, T, D), or of ``size``; yield their length.

    Raises
    ------
    InputError
        s and its mask (B, T) are not as `check_paths` asks.
    """
    if s is not None:
        check_paths(s, mask, data_dim)
        size, length = s.shape[:2]
    with pyro.plate("data", size, dim=-1):
        yield length


class SequenceModel(nn.Module):
    """A model of sequences s (B, T, D), independent of one another: they are rows of a plate.

    Attributes
    ----------
    data_dim : int
        D.
    """

    data_dim: int

    def forward(
        self,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        size: int = 1,
        length: int = 60,
    ) -> Tensor:
        """Score B sequences s (B, T, D); without them, simulate ``size`` of ``length`` frames.

        ``mask`` (B, T) says which frames exist, the first ones of each row. What stands in the
        others, NaN included, reaches neither value nor gradient.

        Raises
        ------
        InputError
            ``s`` is not (B, T, D) or cannot be data of the model, or the mask has a hole.
        """
        with sequence_plate(s, mask, self.data_dim, size, length) as length:
            return self.path(length, s, mask)[1]

    def path(
        self, length: int, s: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]:
        """Sample one sequence in each place of the enclosing plates; return its latents and s."""
        raise NotImplementedError
