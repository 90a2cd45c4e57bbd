"""What happens next in videos: many futures of each, from the posterior of its first frames.

>>> found = forecast(model, guide, frames[:, :5], length=25, num_samples=100)
>>> found.frames.shape  # samples, videos, frames, rows, columns
(100, 8, 25, 32, 32)

The guide is traced on the frames given, and the model replayed with that trace and a longer future:
latents of known frames are the posterior's, those after them the prior's given the state reached.
What is returned are means of frames, as published, not draws with the noise of single pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pyro
import torch
from numpy.typing import NDArray
from pyro import poutine
from torch import Tensor, nn

from inference.randomness import derive, reseed
from inference.tracing import quiet, unvalidated
from ppl_models.data import float_frames, grey_levels
from ppl_models.distributions import SequenceDistribution
from ppl_models.dvae import DynamicalVAE, Past
from ppl_models.errors import InputError
from ppl_models.inputs import check_count
from ppl_models.likelihoods import ConvFrames
from ppl_models.sequences import draw
from ppl_models.video import VideoModel

Bytes = NDArray[np.uint8]
AT_ONCE = 20_000
"""Frames painted at a time: some 80 MB at 32 x 32."""


class Forecast(NamedTuple):
    """Futures of B videos."""

    frames: Bytes
    """(S, B, T + F, H, W), or (S, B, T + F, 3, H, W): the first ``past`` are reconstructed."""
    past: int
    """T, frames that were given."""


def forecast(
    model: nn.Module,
    guide: nn.Module,
    frames: Tensor | Bytes,
    *,
    length: int = 25,
    num_samples: int = 100,
    seed: int = 0,
    progress: Callable[[int, int], Any] | None = None,
    at_once: int = AT_ONCE,
) -> Forecast:
    """Draw futures of videos, given their first frames.

    Parameters
    ----------
    model, guide
        A pair of `ppl_models.video`, or one of the dynamical VAE family whose likelihood is a
        `ConvFrames`.
    frames
        The frames known, uint8 (B, T, H, W), in colour (B, T, 3, H, W) or (B, T, H, W, 3).
    length
        Frames of each future, the known ones included.
    num_samples
        S.
    seed
        Of the draws of each video; they do not depend on which others are there.
    progress
        Called with the number of videos done, and B.
    at_once
        Frames painted at a time, which bounds memory.

    Raises
    ------
    InputError
        Frames of another size than the model's, or no uint8; fewer frames to reach than are known.
    """
    known = checked_frames(model, frames)
    size, past = known.shape[:2]
    check_count("num_samples", num_samples)
    if not isinstance(length, int) or length < past:
        raise InputError("length", str(length), f"at least {past}, the frames given", f"{past + 1}")
    share = max(1, at_once // length)
    shape = picture_shape(model)
    out = np.empty((num_samples, size, length, *shape), np.uint8)
    device = next(model.parameters()).device
    with quiet(model, guide, seed), unvalidated():
        for row in range(size):
            s = float_frames(known[row : row + 1]).to(device)
            for start in range(0, num_samples, share):
                count = min(share, num_samples - start)
                reseed(derive(seed, "forecast", row, start))
                means = futures(model, guide, s, length - past, count)
                out[start : start + count, row] = grey_levels(means[:, 0].cpu(), shape)
            if progress is not None:
                progress(row + 1, size)
    return Forecast(out, past)


def futures(
    model: nn.Module, guide: nn.Module, s: Tensor, future: int, num_samples: int = 1
) -> Tensor:
    """Return means (S, B, T + F, D) of frames of S futures, those given reconstructed.

    Parameters
    ----------
    model, guide
        As of `forecast`.
    s
        (B, T, D), the frames known.
    future
        F.
    num_samples
        S.
    """
    follow = _replayed if isinstance(model, VideoModel) else _rolled_on
    with torch.no_grad(), unvalidated(), pyro.plate("futures", num_samples, dim=-2):
        means = follow(model, guide, s, future)
    return means.expand(num_samples, *means.shape[-3:])


def _replayed(model: Any, guide: nn.Module, s: Tensor, future: int) -> Tensor:
    """Replay one trace of the guide past the frames given."""
    posterior = poutine.trace(guide).get_trace(s)
    if model.forecasts_from_prior:
        for site in posterior.stochastic_nodes:
            posterior.remove_node(site)
    nodes = poutine.trace(poutine.replay(model, trace=posterior)).get_trace(s, future=future).nodes
    known = _mean(nodes["s"]["fn"], s)
    if known.shape[-2] < s.shape[-2]:  # the first frame is given, and has no distribution
        known = torch.cat([s[:, :1].expand(*known.shape[:-2], 1, -1), known], -2)
    if not future:
        return known
    later: Tensor = nodes["s_next"]["fn"].mean
    return torch.cat([known.expand(*later.shape[:-2], *known.shape[-2:]), later], -2)


def _mean(frames: Any, s: Tensor) -> Tensor:
    """Return the means of frames, each given those before it where they are read."""
    if isinstance(frames, SequenceDistribution):
        frames = frames.distribution(s[:, 1:])
    mean: Tensor = frames.mean
    return mean


def _rolled_on(model: Any, guide: nn.Module, s: Tensor, future: int) -> Tensor:
    """Roll out a dynamical VAE: with the guide's latents, and frames given, then with its own."""
    posterior: Any = poutine.trace(guide).get_trace(s).nodes
    z = posterior["z"]["value"]
    w = posterior[model.global_site]["value"] if model.global_dim else None
    length, batch = s.shape[-2], z.shape[:-2]

    def latent(t: int, h: Tensor | None, past: Past) -> Tensor:
        return z[..., t : t + 1, :] if t < length else draw(model.latent(h, past))

    if not model.autoregressive:
        path = model.rollout(batch, length + future, w, latent=latent, frames=False).z
        raw = model.closed_loop(path, w)
    else:
        whole = torch.cat([s, s.new_zeros(len(s), future, s.shape[-1])], -2).expand(*batch, -1, -1)
        seen = (torch.arange(length + future, device=s.device) < length)[:, None].expand(
            whole.shape
        )
        known = whole, seen
        raw = model.rollout(batch, length + future, w, latent=latent, known=known, point=True).raw
    means: Tensor = model.likelihood.point(raw)
    return means


def frame_shape_of(model: Any) -> tuple[int, int, int]:
    """Return (C, S, S) of a model of videos."""
    shape: tuple[int, int, int] = (
        getattr(model, "frame_shape", None) or model.likelihood.frame_shape
    )
    return shape


def picture_shape(model: Any) -> tuple[int, ...]:
    """Return the shape of a frame as arrays have it: (H, W), or (3, H, W)."""
    channels, *sides = frame_shape_of(model)
    return tuple(sides) if channels == 1 else (channels, *sides)


def checked_frames(model: nn.Module, frames: Tensor | Bytes) -> Bytes:
    """Return frames (B, T, ...) once they are known to be what the model paints.

    Raises
    ------
    InputError
        As `forecast`.
    """
    coded = isinstance(model, DynamicalVAE) and isinstance(model.likelihood, ConvFrames)
    if not (isinstance(model, VideoModel) or coded):
        cure = "a model of ppl_models.video, or DKF(1024, 8, likelihood=ConvFrames((1, 32, 32)))"
        raise InputError("model", type(model).__name__, "a model of videos", cure)
    known = frames.numpy() if isinstance(frames, Tensor) else np.asarray(frames)
    channels, side, _ = frame_shape_of(model)
    grey = (side, side) if channels == 1 else None
    found = known.shape[2:]
    fits = found == grey or (channels == 3 and found in ((3, side, side), (side, side, 3)))
    if known.dtype != np.uint8 or not fits or math.prod(known.shape) == 0:
        wanted = f"uint8, (videos, frames, {side}, {side}{', 3' * (channels == 3)})"
        cure = f"ppl_models.data.resize_frames(frames, {side})"
        if known.ndim > 2 and known.dtype == np.uint8 and channels == 1 and found[-1:] == (3,):
            cure = "ppl_models.data.to_grey(frames)"
        if known.dtype != np.uint8:
            cure = "(255 * frames).round().astype('uint8'), for levels from 0 to 1"
        raise InputError("frames", f"{known.dtype}, {known.shape}", wanted, cure)
    return known
