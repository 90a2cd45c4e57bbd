"""What moves and what stays, taken apart and put together again: for SRVP.

`swap_content` shows the content of some videos in the motion of others; `interpolate` goes from the
start of one video to that of another.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro
import torch
from numpy.typing import NDArray
from pyro import poutine
from torch import Tensor, nn

from inference.tasks.video.forecast import checked_frames, picture_shape
from inference.tracing import quiet, unvalidated
from ppl_models.data import float_frames, grey_levels
from ppl_models.errors import InputError
from ppl_models.inputs import check_count
from ppl_models.video import SRVP

Bytes = NDArray[np.uint8]


def swap_content(
    model: nn.Module,
    guide: nn.Module,
    motion: Tensor | Bytes,
    content: Tensor | Bytes,
    *,
    length: int | None = None,
    num_samples: int = 1,
    seed: int = 0,
) -> Bytes:
    """Show what is in some videos, moving as others do.

    Parameters
    ----------
    model, guide
        A trained `SRVP` and its guide.
    motion, content
        uint8 (B, T, H, W) and (B, K, H, W), or in colour: h is read from the first, w from the
        second.
    length
        Frames to show: those after T are a forecast. By default T.
    num_samples
        S.
    seed
        Of h.

    Returns
    -------
    array of uint8
        (S, B, length, H, W), or in colour (S, B, length, 3, H, W).

    Raises
    ------
    InputError
        Another model, frames of another size, or other numbers of videos.
    """
    model = _srvp(model)
    s, w = (float_frames(checked_frames(model, part)) for part in (motion, content))
    if len(s) != len(w):
        found = f"{len(w)} videos, for {len(s)} in motion"
        raise InputError("content", found, "as many", f"content=content[:{len(s)}]")
    check_count("num_samples", num_samples)
    future = 0 if length is None else length - s.shape[1]
    if future < 0:
        raise InputError("length", str(length), f"at least {s.shape[1]}, or None", "length=None")
    with quiet(model, guide, seed), unvalidated(), pyro.plate("draws", num_samples, dim=-2):
        posterior: Any = poutine.trace(guide).get_trace(s)
        replayed = poutine.replay(model, trace=posterior)
        nodes: Any = poutine.trace(replayed).get_trace(s, content=w, future=future).nodes
    sites = ("s", "s_next") if future else ("s",)
    means = [nodes[name]["fn"].mean.expand(num_samples, len(s), -1, -1) for name in sites]
    return grey_levels(torch.cat(means, -2), picture_shape(model))


def interpolate(
    model: nn.Module,
    guide: nn.Module,
    first: Tensor | Bytes,
    last: Tensor | Bytes,
    *,
    steps: int = 5,
    length: int = 15,
    seed: int = 0,
) -> Bytes:
    """Go from the state h_1 of one video to that of another, in equal steps.

    The content, and what drives the states, z, are those of the first video, so that only where it
    starts and how it moves at first change.

    Parameters
    ----------
    model, guide
        A trained `SRVP` and its guide.
    first, last
        uint8 (T, H, W), or in colour.
    steps
        Videos to make, both ends included: at least 2.
    length
        Frames of each.
    seed
        Of z after the frames given.

    Returns
    -------
    array of uint8
        (steps, length, H, W), or in colour (steps, length, 3, H, W).

    Raises
    ------
    InputError
        Another model, frames of another size or number, or too few steps.
    """
    model = _srvp(model)
    check_count("steps", steps, 2)
    both = [np.asarray(part)[None] for part in (first, last)]
    if both[0].shape != both[1].shape:
        found, wanted = f"shape {both[1].shape[1:]}", f"that of first, {both[0].shape[1:]}"
        raise InputError("last", found, wanted, "last=last[: len(first)]")
    s = float_frames(checked_frames(model, np.concatenate(both)))[:, :length]
    share = torch.linspace(0, 1, steps)[:, None]
    with quiet(model, guide, seed), unvalidated():
        posterior: Any = poutine.trace(guide).get_trace(s)
        ends = posterior.nodes["h_1"]["fn"].mean
        h_1 = torch.lerp(ends[:1], ends[1:], share)
        given: dict[str, Tensor] = {"h_1": h_1}
        if model.stochastic:
            z = posterior.nodes["z"]["fn"]
            given["z"] = z.moments(posterior.nodes["z"]["value"])[0][:1].expand(steps, -1, -1)
        held = poutine.condition(model, data=given)
        videos = s[:1].expand(steps, -1, -1)
        future = max(0, length - s.shape[1])
        nodes: Any = poutine.trace(held).get_trace(videos, content=videos, future=future).nodes
    sites = ("s", "s_next") if future else ("s",)
    means = [nodes[name]["fn"].mean.expand(steps, -1, -1) for name in sites]
    return grey_levels(torch.cat(means, -2), picture_shape(model))


def _srvp(model: nn.Module) -> Any:
    if isinstance(model, SRVP):
        return model
    cure = "load_video('srvp').model, or a run of `ppl fit-video --story SRVP`"
    raise InputError("model", type(model).__name__, "an SRVP, which has a content", cure)
