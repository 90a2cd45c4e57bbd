r"""Convolutional encoders and decoders of pictures: DCGAN- and VGG-like, of any side 4 * 2^n.

A picture (C, S, S) is halved n times, to maps of 4 x 4, and these become one code; a decoder goes
back the same way. Group normalisation stands where the published networks have batch normalisation:
a frame's code then depends on that frame alone, in training too, so that a bound is a sum over data
and padding changes nothing; ``norm="batch"`` is the published form.

References: A. Radford, L. Metz, S. Chintala, "Unsupervised representation learning with deep
convolutional generative adversarial networks", ICLR 2016; K. Simonyan, A. Zisserman, "Very deep
convolutional networks for large-scale image recognition", ICLR 2015; E. Denton, R. Fergus,
"Stochastic video generation with a learned prior", ICML 2018 (both mirrored, with skips); Y. Wu,
K. He, "Group normalization", ECCV 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ppl_models.errors import InputError
from ppl_models.inputs import check_count

Shape = tuple[int, int, int]
LEAST = 4  # side of the smallest maps
GROUP = 16  # channels normalised together
KINDS, NORMS = ("dcgan", "vgg"), ("group", "batch", "none")


def num_halvings(frame_shape: Shape) -> int:
    """Return n for pictures (C, S, S) with S = 4 * 2^n.

    Raises
    ------
    InputError
        Pictures of another shape.
    """
    shape = tuple(frame_shape)
    if len(shape) == 3 and shape[0] >= 1 and shape[1] == shape[2] and shape[1] >= 2 * LEAST:
        n = (shape[1] // LEAST).bit_length() - 1
        if shape[1] == LEAST << n:
            return n
    wanted = "(channels, side, side), the side 8, 16, 32, 64, ..."
    cure = "resize them: ppl_models.data.resize_frames(frames, 64)"
    raise InputError("frame_shape", str(shape), wanted, cure)


def _norm(kind: str, channels: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "none":
        return nn.Identity()
    groups = channels // GROUP if channels % GROUP == 0 else 1
    return nn.GroupNorm(groups, channels)


def _block(conv: nn.Module, channels: int, norm: str) -> nn.Sequential:
    return nn.Sequential(conv, _norm(norm, channels), nn.LeakyReLU(0.2, inplace=True))


def _vgg_block(channels: Sequence[int], norm: str) -> nn.Sequential:
    convs = (_block(nn.Conv2d(a, b, 3, 1, 1), b, norm) for a, b in pairwise(channels))
    return nn.Sequential(*convs)


def _start(network: nn.Module) -> None:
    """Start kernels at N(0, 0.02^2), as both papers do."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(part.weight, 0.0, 0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def _check(kind: str, norm: str, width: int, code_dim: int) -> None:
    for name, given, known in (("kind", kind, KINDS), ("norm", norm, NORMS)):
        if given not in known:
            cure = f"{name}={known[0]!r}"
            raise InputError(name, repr(given), f"one of {', '.join(known)}", cure)
    check_count("width", width)
    check_count("code_dim", code_dim)


class ConvEncoder(nn.Module):
    """Pictures (..., C S S), flat, to codes (..., code_dim) between -1 and 1.

    Parameters
    ----------
    frame_shape : tuple of int
        (C, S, S).
    code_dim : int
    width : int
        Channels of the first maps; each halving doubles them, to eight times at most.
    kind : "dcgan" or "vgg"
        A convolution of stride 2 a halving; or two of 3 x 3 and a maximum.
    norm : "group", "batch" or "none"

    Raises
    ------
    InputError
        Pictures that are not square with a side of 4 * 2^n, or an unknown kind or norm.
    """

    def __init__(
        self,
        frame_shape: Shape,
        code_dim: int = 128,
        *,
        width: int = 64,
        kind: str = "dcgan",
        norm: str = "group",
    ) -> None:
        super().__init__()
        _check(kind, norm, width, code_dim)
        self.frame_shape, self.code_dim, self.kind = tuple(frame_shape), code_dim, kind
        self.channels = stage_channels(frame_shape, width)
        sizes = (frame_shape[0], *self.channels)
        if kind == "dcgan":
            stages: Any = (_block(nn.Conv2d(a, b, 4, 2, 1), b, norm) for a, b in pairwise(sizes))
        else:
            stages = (_vgg_block((a, b, b), norm) for a, b in pairwise(sizes))
        self.stages = nn.ModuleList(stages)
        self.last = nn.Conv2d(sizes[-1], code_dim, LEAST)
        _start(self)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, frames: Tensor) -> Tensor:
        """Return the codes."""
        return self.with_maps(frames)[0]

    def with_maps(self, frames: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the codes and, for skip connections, the maps (..., channels, s, s) of a stage."""
        batch = frames.shape[:-1]
        x = frames.reshape(-1, *self.frame_shape).contiguous(memory_format=torch.channels_last)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x.reshape(*batch, *x.shape[1:]))
            if self.kind == "vgg":
                x = nn.functional.max_pool2d(x, 2)
        code = self.last(x).tanh()
        return code.reshape(*batch, self.code_dim), tuple(maps)


class ConvDecoder(nn.Module):
    """Codes (..., code_dim) to what is said of each pixel (..., out_channels S S), flat.

    Parameters
    ----------
    frame_shape : tuple of int
        (C, S, S).
    code_dim : int
    out_channels : int, optional
        Numbers a pixel; by default C.
    skips : bool
        Whether it also reads the maps of a `ConvEncoder` of the same width and kind.
    hidden_dims : sequence of int
        Layers between the code and the first maps. The published networks have none: the first
        maps are then linear in the code, and many channels have to turn what is shown and where
        it is into a picture; a few layers do that with far fewer (docs/video.md).
    width, kind, norm
        Those of `ConvEncoder`.

    Raises
    ------
    InputError
        As `ConvEncoder`.
    """

    def __init__(
        self,
        frame_shape: Shape,
        code_dim: int = 128,
        *,
        out_channels: int | None = None,
        skips: bool = False,
        hidden_dims: Sequence[int] = (),
        width: int = 64,
        kind: str = "dcgan",
        norm: str = "group",
    ) -> None:
        super().__init__()
        _check(kind, norm, width, code_dim)
        self.frame_shape, self.code_dim, self.kind = tuple(frame_shape), code_dim, kind
        self.skips = skips
        channels = stage_channels(frame_shape, width)[::-1]
        share = 2 if skips else 1
        dims = (code_dim, *hidden_dims)
        layers = ((nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(dims))
        self.hidden = nn.Sequential(*(part for layer in layers for part in layer))
        self.first = _block(nn.ConvTranspose2d(dims[-1], channels[0], LEAST), channels[0], norm)
        last = out_channels or frame_shape[0]
        sizes = (*channels, channels[-1])
        stages: list[nn.Module] = []
        for a, b in pairwise(sizes):
            if kind == "dcgan":
                at_end = len(stages) == len(channels) - 1
                conv = nn.ConvTranspose2d(a * share, last if at_end else b, 4, 2, 1)
                stages.append(conv if at_end else _block(conv, b, norm))
            else:
                stages.append(_vgg_block((a * share, a, b), norm))
        self.stages = nn.ModuleList(stages)
        self.last = nn.Conv2d(channels[-1], last, 3, 1, 1) if kind == "vgg" else nn.Identity()
        _start(self)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, code: Tensor, maps: Sequence[Tensor] | None = None) -> Tensor:
        """Return the numbers of pixels; ``maps`` have batch dims that broadcast with the code's."""
        batch = code.shape[:-1]
        x = self.first(self.hidden(code.reshape(-1, self.code_dim))[..., None, None])
        for i, stage in enumerate(self.stages):
            if self.kind == "vgg":
                x = nn.functional.interpolate(x, scale_factor=2)
            if self.skips and maps is not None:
                x = torch.cat([x, _beside(maps[-1 - i], batch)], 1)
            x = stage(x)
        out: Tensor = self.last(x)
        return out.reshape(*batch, -1)


def stage_channels(frame_shape: Shape, width: int) -> tuple[int, ...]:
    """Return the channels of the maps after each halving."""
    return tuple(width * min(2**i, 8) for i in range(num_halvings(frame_shape)))


def _beside(maps: Tensor, batch: Sequence[int]) -> Tensor:
    """Return maps (..., C, s, s) with the batch dims of a code, flat."""
    return maps.expand(*batch, *maps.shape[-3:]).reshape(-1, *maps.shape[-3:])
