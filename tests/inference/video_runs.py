"""Small runs of models of videos, and videos for them: a blob that moves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inference.tasks.video.files import VideoDesign, save_video

SIDE = 16
_FRAMES = {"width": 4, "code_dim": 6}
_SVG = {"latent_dim": 2, "recurrent_dim": 6, "past": 3, **_FRAMES}
_SRVP = {
    "latent_dim": 2,
    "state_dim": 3,
    "content_dim": 4,
    "hidden_dims": [7],
    "content_frames": 2,
    **_FRAMES,
}
_READING = {"recurrent_dim": 5}
DESIGNS = {
    "SRVP": VideoDesign(
        "SRVP",
        (1, SIDE, SIDE),
        _SRVP,
        {"start_frames": 2, "start_dims": [5], **_READING},
    ),
    "SVGLP": VideoDesign("SVGLP", (1, SIDE, SIDE), _SVG, _READING),
    "SVGFP": VideoDesign("SVGFP", (1, SIDE, SIDE), _SVG, _READING),
    "SV2P": VideoDesign(
        "SV2P",
        (1, SIDE, SIDE),
        {"width": 4, "num_kernels": 3, "kernel_side": 3},
        {"width": 4},
    ),
    "DKF": VideoDesign("DKF", (1, SIDE, SIDE), {"latent_dim": 3}, {}, {"width": 4, "code_dim": 6}),
}


def coloured(name: str = "SRVP") -> VideoDesign:
    design = DESIGNS[name]
    return VideoDesign(name, (3, SIDE, SIDE), design.options, design.guide_options)


def pair(design: VideoDesign, seed: int = 0) -> tuple[Any, Any]:
    """A pair whose weights are large enough for its futures to differ."""
    model, guide = design.pair(seed)
    generator = torch.Generator().manual_seed(seed)
    for part in (model, guide):
        part.eval()
        for parameter in part.parameters():
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model, guide


def saved(folder: Path | str, design: VideoDesign | str = "SRVP", seed: int = 0) -> Path:
    design = DESIGNS[design] if isinstance(design, str) else design
    return save_video(folder, design, *pair(design, seed))


def blobs(size: int = 3, length: int = 8, side: int = SIDE, seed: int = 0) -> NDArray[np.uint8]:
    """Clips (size, length, side, side) of a blob that goes to the right, from another row each."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(3, side - 3, (2, size, 1))
    at, time = np.arange(side), np.arange(length)
    x = (start[0] + time) % side
    y = np.broadcast_to(start[1], x.shape)
    near = (at[:, None] - y[..., None, None]) ** 2 + (at - x[..., None, None]) ** 2
    return np.round(255 * np.exp(-near / 6)).astype(np.uint8)
