"""Models of videos whose frames are codes: a convolutional network reads each, another paints it.

All frames of a batch are read at once, and once for a model and its guide.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ppl_models.errors import InputError
from ppl_models.likelihoods import ConvFrames
from ppl_models.video.base import VideoModel

Maps = tuple[Tensor, ...]


class Reading(NamedTuple):
    """What networks read of the frames of videos."""

    codes: Tensor
    """(..., T, F), 0 at padding."""
    maps: Maps
    """Maps of the encoder's stages, each (..., T, channels, side, side)."""


class CodedVideoModel(VideoModel):
    """A model of videos s (B, T, D) by codes of their frames.

    Parameters
    ----------
    likelihood : ConvFrames
        How a frame is painted, given a code, and read.
    """

    likelihood: ConvFrames
    _kept: tuple[tuple[Any, ...], Reading] | None = None

    def __init__(self, likelihood: ConvFrames) -> None:
        if not isinstance(likelihood, ConvFrames):
            cure = "likelihood=ConvFrames((1, 32, 32), code_dim)"
            raise InputError("likelihood", type(likelihood).__name__, "a ConvFrames", cure)
        super().__init__(likelihood, likelihood.frame_shape)

    def read(self, s: Tensor, mask: Tensor | None = None, *, keep: bool = False) -> Reading:
        """Read the existing frames of videos s (..., T, D).

        With ``keep``, as guides have it, the next call without, if it is of this very tensor and
        before any step of training, gets the same reading: a pair encodes each frame once
        (docs/video.md says what that buys).
        """
        version = sum(tensor._version for tensor in (*self.parameters(), *self.buffers()))
        key = (s, s._version, mask, torch.is_grad_enabled(), self.training, version)
        kept, self._kept = self._kept, None
        same = (
            kept is not None
            and not keep
            and all(
                a is b or (not isinstance(b, Tensor) and a == b)
                for a, b in zip(kept[0], key, strict=True)
            )
        )
        reading = kept[1] if kept is not None and same else self._encode(s, mask)
        if keep:
            self._kept = key, reading
        return reading

    def _encode(self, s: Tensor, mask: Tensor | None) -> Reading:
        """Encode the frames that exist: what stands in the others reaches nothing."""
        if mask is None or bool(mask.all()):
            return Reading(*self.likelihood.read_maps(s))
        codes, maps = self.likelihood.read_maps(s[mask])
        return Reading(_placed(codes, mask), tuple(_placed(part, mask) for part in maps))

    def features(self, s: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the codes (..., T, F) of frames, 0 at padding."""
        return self.read(s, mask).codes

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}  # graph tensors can be neither copied nor sent


def _placed(rows: Tensor, mask: Tensor) -> Tensor:
    """Put what belongs to existing frames (N, ...) in their places (*mask.shape, ...)."""
    out = rows.new_zeros(*mask.shape, *rows.shape[1:])
    out[mask] = rows
    return out
