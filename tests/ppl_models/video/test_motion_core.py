"""The core of SV2P: what it reads, at once and frame by frame."""

from __future__ import annotations

import pytest
import torch

from ppl_models.dvae import Memory
from ppl_models.video.motion_core import MotionCore, inner_side
from tests.videos import assert_alike


@pytest.mark.parametrize(
    ("side", "levels", "inner"), [(8, 1, 4), (16, 1, 8), (32, 2, 8), (64, 3, 8)]
)
def test_frames_are_halved_down_to_maps_of_eight(side: int, levels: int, inner: int) -> None:
    assert inner_side((1, side, side)) == (levels, inner)
    core = MotionCore((1, side, side), 2)
    maps, flat = core(Memory(), torch.rand(2, 3, 1, side, side), torch.randn(2, 1, 1, inner, inner))
    assert maps.shape == (2, 3, 2, side, side) and flat.shape == (2, 3, core.inner_dim)


def test_at_once_is_frame_by_frame_and_reads_no_later_frame() -> None:
    core = MotionCore((2, 32, 32), 2).double()
    frames, z = torch.rand(2, 4, 2, 32, 32).double(), torch.randn(2, 4, 1, 8, 8).double()
    whole = core(Memory(), frames, z)
    memory = Memory(stepwise=True)
    steps = [core(memory, frames[:, t : t + 1], z[:, t : t + 1]) for t in range(4)]
    assert_alike(whole, [torch.cat(part, 1) for part in zip(*steps, strict=True)], 1e-10)
    frames[:, 2:], z[:, 2:] = 0, 0
    assert_alike([x[:, :2] for x in core(Memory(), frames, z)], [x[:, :2] for x in whole], 1e-12)
