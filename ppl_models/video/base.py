"""What models of videos share: their frames, and futures of given frames.

A video is a sequence s (B, T, D) of frames, flat, D = C S S, as floats from 0 to 1
(`ppl_models.data.float_frames`). Its first frames may be all that is known:
``model(s, future=20)`` samples 20 more, as sites ``z_next`` and ``s_next`` beside those of the
frames given. A forecast is one trace of the guide, replayed so (`inference.tasks.video`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import pyro
from torch import Tensor, nn

from ppl_models.errors import InputError
from ppl_models.inputs import check_count
from ppl_models.likelihoods import Likelihood
from ppl_models.sequences import check_mask, clean


class VideoModel(nn.Module):
    """A model of videos s (B, T, D).

    Parameters
    ----------
    likelihood : Likelihood
        The distribution of a frame.
    frame_shape : tuple of int
        (C, S, S).

    Attributes
    ----------
    data_dim : int
        D.
    frame_shape : tuple of int
        (C, S, S).
    forecasts_from_prior : bool
        Whether a forecast draws the latents of the frames given from the prior too, and not from
        the guide: it is so where the guide reads the whole video, also what is to be forecast.
    """

    forecasts_from_prior = False

    def __init__(self, likelihood: Likelihood, frame_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.likelihood = likelihood
        self.data_dim, self.frame_shape = likelihood.data_dim, frame_shape

    @contextmanager
    def videos(self, s: Tensor, mask: Tensor | None = None, future: int = 0) -> Iterator[Tensor]:
        """Enter the plate ``data`` of B videos s (B, T, D); yield them, zero where none exists.

        Raises
        ------
        InputError
            ``s`` is not (B, T, D) or has other numbers than levels from 0 to 1, the mask has a
            hole, or a future is asked for of rows of which some end before others.
        """
        self.check_frames(s, mask, future)
        with pyro.plate("data", len(s), dim=-1):
            yield clean(s, mask)

    def check_frames(self, s: Tensor, mask: Tensor | None, future: int) -> None:
        """Check that frames are levels from 0 to 1, and that there are some to go on from."""
        self._check_shape(s)
        if mask is not None:
            check_mask(s, mask)
        frames = clean(s, mask)
        # a sum is a number only if all are, and takes a twentieth of the time of looking at each
        if not math.isfinite(float(frames.sum())) and bool((bad := ~frames.isfinite()).any()):
            row, frame, d = bad.nonzero()[0].tolist()
            found = f"{float(s[row, frame, d])} in video {row}, frame {frame}, number {d}"
            cure = "s.nan_to_num(0.0, 1.0, 0.0); or mask=, if that frame does not exist"
            raise InputError("s", found, "numbers in every frame that exists", cure)
        self.likelihood.check(frames)
        check_count("future", future, 0)
        if future and mask is not None and not bool(mask.all()):
            short = int(mask.sum(-1).min())
            found = f"a future of rows of {short} to {s.shape[-2]} frames"
            cure = f"give the first {max(short, 1)} frames of each: s[:, :{max(short, 1)}]"
            raise InputError("mask", found, "as many known frames in each row", cure)

    def _check_shape(self, s: Tensor) -> None:
        """Raise InputError unless s is (B, T, D)."""
        if s.dim() == 3 and s.shape[-1] == self.data_dim and 0 not in s.shape:
            return
        side, shape = self.frame_shape[-1], " x ".join(map(str, self.frame_shape))
        cure = f"ppl_models.data.float_frames(ppl_models.data.resize_frames(frames, {side}))"
        cure = f"{cure}, from uint8 frames; or a model of your frame_shape"
        if s.shape[2:].numel() == self.data_dim and s.dim() > 3 and 0 not in s.shape:
            cure = "s.flatten(2)"
        expected = f"(videos, frames, {self.data_dim}): frames of {shape}, flat"
        raise InputError("s", f"shape {tuple(s.shape)}", expected, cure)
