r"""Encoders and decoders of pictures by patches: matrix products in place of convolutions.

A picture is cut into patches of 4 x 4 pixels, one linear layer reads each, and four neighbours are
joined by the next, until 4 x 4 cells are left, which become one code; a decoder goes back the same
way. Each layer is a convolution whose kernel does not overlap its neighbours, so that it is one
matrix product: on a CPU a step of such a pair of networks takes a fifth of the time of a
DCGAN-like one of as many parameters (``python -m benchmarks.video --speed``).

Reference: A. Dosovitskiy et al., "An image is worth 16x16 words: transformers for image recognition
at scale", ICLR 2021 (patches); layers between them are joined as in Z. Liu et al., "Swin
transformer: hierarchical vision transformer using shifted windows", ICCV 2021, section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ppl_models.inputs import check_count
from ppl_models.networks.conv import LEAST, Shape, num_halvings


def patch_side(frame_shape: Shape) -> int:
    """Return the pixels along a patch: 4, but 2 in pictures of 8 x 8."""
    return min(4, 2 ** (num_halvings(frame_shape)))


def cut(x: Tensor, share: int) -> Tensor:
    """Join share x share neighbours: (..., S, S, C) -> (..., S / share, S / share, share^2 C)."""
    *batch, rows, columns, channels = x.shape
    x = x.reshape(-1, rows // share, share, columns // share, share, channels)
    x = x.transpose(2, 3).flatten(3)
    return x.reshape(*batch, *x.shape[1:])


def spread(x: Tensor, share: int) -> Tensor:
    """Undo `cut`: (..., S, S, share^2 C) -> (..., S share, S share, C)."""
    *batch, rows, columns, channels = x.shape
    x = x.reshape(-1, rows, columns, share, share, channels // share**2).transpose(2, 3)
    return x.reshape(*batch, rows * share, columns * share, channels // share**2)


class _Layer(nn.Module):
    """Linear, layer normalisation, and a leaky ReLU, in each cell."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(inputs, outputs), nn.LayerNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.leaky_relu(self.norm(self.linear(x)), 0.2)


class PatchEncoder(nn.Module):
    """Pictures (..., C S S), flat, to codes (..., code_dim) between -1 and 1.

    Parameters
    ----------
    frame_shape : tuple of int
        (C, S, S), S = 4 * 2^n.
    code_dim : int
    width : int
        Channels of a patch; each joining of four doubles them.
    """

    def __init__(self, frame_shape: Shape, code_dim: int = 128, *, width: int = 64) -> None:
        super().__init__()
        check_count("width", width)
        check_count("code_dim", code_dim)
        self.frame_shape, self.code_dim = tuple(frame_shape), code_dim
        self.patch = patch_side(frame_shape)
        widths = stage_widths(frame_shape, width)
        inputs = (self.patch**2 * frame_shape[0], *(4 * w for w in widths[:-1]))
        self.stages = nn.ModuleList(_Layer(a, b) for a, b in zip(inputs, widths, strict=True))
        self.last = nn.Linear(LEAST**2 * widths[-1], code_dim)

    def forward(self, frames: Tensor) -> Tensor:
        """Return the codes."""
        return self.with_maps(frames)[0]

    def with_maps(self, frames: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the codes and, for skip connections, the cells (..., s, s, channels)."""
        x = frames.reshape(*frames.shape[:-1], *self.frame_shape).movedim(-3, -1)
        maps = []
        for i, stage in enumerate(self.stages):
            x = stage(cut(x, 2 if i else self.patch))
            maps.append(x)
        return self.last(x.flatten(-3)).tanh(), tuple(maps)


class PatchDecoder(nn.Module):
    """Codes (..., code_dim) to what is said of each pixel (..., out_channels S S), flat.

    Parameters
    ----------
    frame_shape, code_dim, width
        Those of `PatchEncoder`.
    out_channels : int, optional
        Numbers a pixel; by default C.
    skips : bool
        Whether it also reads the cells of a `PatchEncoder` of the same width.
    """

    def __init__(
        self,
        frame_shape: Shape,
        code_dim: int = 128,
        *,
        out_channels: int | None = None,
        skips: bool = False,
        width: int = 64,
    ) -> None:
        super().__init__()
        check_count("width", width)
        self.frame_shape, self.code_dim, self.skips = tuple(frame_shape), code_dim, skips
        self.patch = patch_side(frame_shape)
        widths = stage_widths(frame_shape, width)[::-1]
        share, last = 2 if skips else 1, out_channels or frame_shape[0]
        self.first = nn.Linear(code_dim, LEAST**2 * widths[0])
        self.norm = nn.LayerNorm(widths[0])
        stages = (
            nn.Sequential(nn.Linear(a * share, 4 * b), _Spread(2), nn.LayerNorm(b), _act())
            for a, b in zip(widths[:-1], widths[1:], strict=True)
        )
        self.stages = nn.ModuleList(stages)
        self.last = nn.Linear(widths[-1] * share, self.patch**2 * last)

    def forward(self, code: Tensor, maps: Sequence[Tensor] | None = None) -> Tensor:
        """Return the numbers of pixels; ``maps`` have batch dims that broadcast with the code's."""
        batch = code.shape[:-1]
        x = self.first(code).reshape(*batch, LEAST, LEAST, -1)
        x = nn.functional.leaky_relu(self.norm(x), 0.2)
        for i, stage in enumerate((*self.stages, self.last)):
            if self.skips and maps is not None:
                cells = maps[-1 - i]
                x = torch.cat([x, cells.expand(*batch, *cells.shape[-3:])], -1)
            x = stage(x)
        return spread(x, self.patch).movedim(-1, -3).reshape(*batch, -1)


class _Spread(nn.Module):
    def __init__(self, share: int) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        return spread(x, self.share)


def _act() -> nn.Module:
    return nn.LeakyReLU(0.2)


def stage_widths(frame_shape: Shape, width: int) -> tuple[int, ...]:
    """Return the channels of the cells, from patches to 4 x 4."""
    joinings = num_halvings(frame_shape) - (patch_side(frame_shape).bit_length() - 1)
    return tuple(width * 2**i for i in range(joinings + 1))
