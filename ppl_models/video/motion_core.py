"""The network that says what moves where: convolutional LSTMs, coarser and coarser, and back.

Half of the published one, which has a second LSTM at every scale on its way back.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from ppl_models.dvae import Memory
from ppl_models.networks import ConvLSTM, beside, num_halvings, over_maps


def inner_side(frame_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Return how often frames are halved, and the side that is left: 8, or 4 of 8."""
    levels = max(1, num_halvings(frame_shape) - 1)
    return levels, frame_shape[-1] >> levels


class MotionCore(nn.Module):
    """Frames (..., T, C, S, S) and latent maps to maps of frames and the innermost ones.

    Parameters
    ----------
    frame_shape : tuple of int
        (C, S, S).
    width : int
        Channels of the first maps; each halving doubles them.

    Attributes
    ----------
    levels, side : int
        Halvings, and the side that they leave.
    """

    def __init__(self, frame_shape: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.levels, self.side = levels, _ = inner_side(frame_shape)
        channels = [width << level for level in range(levels)]
        sides = [frame_shape[-1] >> (level + 1) for level in range(levels)]
        entering = pairwise([frame_shape[0], *channels])
        self.downs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.ReLU()) for a, b in entering
        )
        reads = [*channels[:-1], channels[-1] + 1]  # the latent map is beside the innermost ones
        sizes = zip(reads, channels, sides, strict=True)
        self.recurrences = nn.ModuleList(ConvLSTM(a, b, side) for a, b, side in sizes)
        self.norms = nn.ModuleList(nn.GroupNorm(1, b) for b in channels)
        out = [*channels[-2::-1], width]
        reads = [channels[-1], *(2 * b for b in out[:-1])]  # with the maps of the way down
        self.ups = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(a, b, 4, 2, 1), nn.GroupNorm(1, b), nn.ReLU())
            for a, b in zip(reads, out, strict=True)
        )
        self.inner_dim = channels[-1] * self.side**2

    def forward(self, memory: Memory, frames: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return maps (..., T, width, S, S), and the innermost ones flat (..., T, inner_dim).

        ``z`` (..., T or 1, 1, side, side).
        """
        x, kept = frames, list[Tensor]()
        for down, recurrence, norm in zip(self.downs, self.recurrences, self.norms, strict=True):
            x = over_maps(down, x)
            if recurrence is self.recurrences[-1]:
                x = beside(x, z)
            x = memory(recurrence, x.flatten(-3)).unflatten(-1, recurrence.shape)
            x = over_maps(norm, x)
            kept.append(x)
        inner = kept.pop().flatten(-3)
        for up in self.ups:
            x = over_maps(up, x)
            if kept:
                x = beside(x, kept.pop())
        return x, inner
