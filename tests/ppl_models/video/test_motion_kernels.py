"""Kernels that move frames, and masks that compose them."""

from __future__ import annotations

import pytest
import torch

from ppl_models.video.motion_kernels import (
    composed,
    moved,
    normalised_kernels,
    still_kernel,
)

SIDE = 7


@pytest.mark.parametrize("raw", [torch.randn(4, 27).double(), -torch.ones(4, 27).double()])
def test_kernels_are_positive_and_sum_to_one(raw: torch.Tensor) -> None:
    kernels = normalised_kernels(raw, 3)
    assert kernels.shape == (4, 3, 9) and bool((kernels > 0).all())
    assert torch.allclose(kernels.sum(-1), torch.ones(4, 3).double())


@pytest.mark.parametrize(("row", "column"), [(0, 0), (2, 3), (4, 1), (2, 2)])
def test_a_kernel_of_one_weight_shifts_exactly(row: int, column: int) -> None:
    """Weight (i, j) brings the pixel i - 2 rows below and j - 2 columns right; else black."""
    kernel = torch.zeros(2, 1, 25)
    kernel[..., 5 * row + column] = 1
    frames = torch.rand(2, 3, SIDE, SIDE)
    wide = torch.nn.functional.pad(frames, (2, 2, 2, 2))
    wanted = wide[..., row : row + SIDE, column : column + SIDE]
    assert torch.equal(moved(frames, kernel)[:, 0], wanted)


def test_the_still_kernel_leaves_frames_as_they_are() -> None:
    frames = torch.rand(2, 3, 1, SIDE, SIDE)
    out = moved(frames, still_kernel(5).expand(2, 3, 2, 25))
    assert out.shape == (2, 3, 2, 1, SIDE, SIDE)
    assert torch.equal(out[:, :, 1], frames)


def test_moving_is_a_correlation_of_each_frame_with_its_own_kernels() -> None:
    frames, kernels = torch.rand(4, 2, SIDE, SIDE).double(), torch.rand(4, 3, 9).double()
    for n in range(4):
        weight = kernels[n].view(3, 1, 3, 3)
        wanted = torch.nn.functional.conv2d(frames[n][:, None], weight, padding=1).transpose(0, 1)
        assert torch.allclose(moved(frames, kernels)[n], wanted)
    more = moved(frames, kernels[:, None].expand(4, 4, 3, 9).transpose(0, 1))  # (draws, frames)
    assert more.shape == (4, 4, 3, 2, SIDE, SIDE)


def test_masks_sum_to_one_so_that_what_is_composed_lies_between_its_layers() -> None:
    masks = 5 * torch.randn(2, 5, SIDE, SIDE).double()
    ones = torch.ones(2, 5, 3, SIDE, SIDE).double()
    assert torch.allclose(composed(masks, ones[:, :1], ones[:, 1:]), ones[:, 0])
    layers = torch.rand(2, 5, 3, SIDE, SIDE).double()
    out = composed(masks, layers[:, :1], layers[:, 1:3], layers[:, 3:])
    assert bool((out <= layers.max(1).values).all() and (out >= layers.min(1).values).all())
    certain = torch.full((2, 5, SIDE, SIDE), -1e9).double()
    certain[:, 3] = 0
    assert torch.equal(composed(certain, layers), layers[:, 3])
