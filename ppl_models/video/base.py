"""What models of videos share: frames read once, and futures of given frames.

A video is a sequence s (B, T, D) of frames, flat, D = C S S, as floats from 0 to 1
(`ppl_models.data.float_frames`). Its first frames may be all that is known:
``model(s, future=20)`` samples 20 more, as sites ``z_next`` and ``s_next`` beside those of the
frames given. A forecast is one trace of the guide, replayed so (`inference.tasks.video`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ppl_models.errors import InputError
from ppl_models.inputs import check_count
from ppl_models.likelihoods import ConvFrames
from ppl_models.sequences import clean

Maps = tuple[Tensor, ...]


class Reading(NamedTuple):
    """What networks read of the frames of videos."""

    codes: Tensor
    """(..., T, F), 0 at padding."""
    maps: Maps
    """Maps of the encoder's stages, each (..., T, channels, side, side)."""


class VideoModel(nn.Module):
    """A model of videos s (B, T, D).

    Parameters
    ----------
    likelihood : ConvFrames
        How a frame is painted, given a code, and read.

    Attributes
    ----------
    data_dim : int
        D.
    frame_shape : tuple of int
        (C, S, S).
    forecasts_from_prior : bool
        Whether latents of a forecast are the prior's in known frames too, since the guide is
        trained to read the frames after them.
    """

    forecasts_from_prior = False
    _kept: tuple[tuple[Any, ...], Reading] | None = None

    def __init__(self, likelihood: ConvFrames) -> None:
        super().__init__()
        if not isinstance(likelihood, ConvFrames):
            cure = "likelihood=ConvFrames((1, 32, 32), code_dim)"
            raise InputError("likelihood", type(likelihood).__name__, "a ConvFrames", cure)
        self.likelihood = likelihood
        self.data_dim, self.frame_shape = likelihood.data_dim, likelihood.frame_shape

    def read(self, s: Tensor, mask: Tensor | None = None, *, keep: bool = False) -> Reading:
        """Read the existing frames of videos s (..., T, D).

        With ``keep``, as guides have it, the next call with this very tensor gets the same reading:
        a pair encodes each frame once (docs/video.md says what that buys).
        """
        version = sum(tensor._version for tensor in (*self.parameters(), *self.buffers()))
        key = (s, s._version, mask, torch.is_grad_enabled(), self.training, version)
        kept, self._kept = self._kept, None
        same = kept is not None and all(
            a is b or (not isinstance(b, Tensor) and a == b)
            for a, b in zip(kept[0], key, strict=True)
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

    def check_frames(self, s: Tensor, mask: Tensor | None, future: int) -> None:
        """Check that frames are levels from 0 to 1, and that there are some to go on from.

        Raises
        ------
        InputError
            Other numbers; or a future is asked for of rows of which some end before others.
        """
        self.likelihood.check(clean(s, mask))
        check_count("future", future, 0)
        if future and mask is not None and not bool(mask.all()):
            short = int(mask.sum(-1).min())
            found = f"a future of rows of {short} to {s.shape[-2]} frames"
            cure = f"give the first {max(short, 1)} frames of each: s[:, :{max(short, 1)}]"
            raise InputError("mask", found, "as many known frames in each row", cure)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}  # graph tensors can be neither copied nor sent


def _placed(rows: Tensor, mask: Tensor) -> Tensor:
    """Put what belongs to existing frames (N, ...) in their places (*mask.shape, ...)."""
    out = rows.new_zeros(*mask.shape, *rows.shape[1:])
    out[mask] = rows
    return out
