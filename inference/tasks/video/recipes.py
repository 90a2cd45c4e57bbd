"""How each story of videos is built and fitted: small, for a CPU, and as published, for a GPU."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from inference.objectives import Objective, SiteNorm
from inference.schedules import linear
from inference.tasks.video.files import SEQUENCE, STORIES, VIDEO, VideoDesign
from inference.training import Muon
from ppl_models.errors import InputError, unknown

Shape = tuple[int, int, int]
SIZES = ("small", "published")
Z_WEIGHT = 5.0
"""Of SRVP's KL of z in the small recipe (published: 2): what z may say costs more, and futures,
which are drawn from its prior, are then nearer to what was trained (docs/video.md)."""


@dataclass(frozen=True)
class Recipe:
    """How a story is built and fitted.

    Parameters
    ----------
    design
        What the pair is built from.
    kl_weight
        Of `Objective`: for all latent sites, or by site.
    residual
        Weight of the norm of SRVP's steps (`SiteNorm`); 0 for none.
    staged
        Whether it is trained in SV2P's three stages, in its published shares of the steps: z from
        the prior for a quarter of them, then from the guide; its KL from the half on, rising for a
        tenth.
    batch_size, learning_rate, clip, optimizer
        Of `inference.fit`. The rate rises for a twentieth of the steps, then falls to 0. `Muon`
        needs fewer steps than Adam to the same bound; 32 clips a step at 0.01 do, for as much CPU,
        as well or better than 16 at 0.005 (docs/video.md).
    """

    design: VideoDesign
    kl_weight: float | Mapping[str, Any] = 1.0
    residual: float = 0.0
    staged: bool = False
    batch_size: int = 32
    learning_rate: float = 1e-2
    clip: float | None = None
    optimizer: type[torch.optim.Optimizer] | None = Muon

    def objective(self, steps: int) -> Objective:
        """Return what is maximised: the bound, its KL weighted, less the story's penalty."""
        norm: tuple[nn.Module, ...] = ()
        if self.residual:
            norm = (SiteNorm("residual", self.residual),)
        weight: Any = self.kl_weight
        if self.staged:
            weight = linear(max(1, steps // 10), wait=steps // 2)
        return Objective("meanfield", kl_weight=weight, penalties=norm)

    def prepare(self, guide: Any, steps: int) -> None:
        """Set how long the guide's first stage is, where there are stages."""
        if self.staged:
            guide.prior_steps = steps // 4


def recipe(story: str, frame_shape: Shape = (1, 32, 32), sizes: str = "small") -> Recipe:
    """Return the recipe of a story for frames of that shape.

    Parameters
    ----------
    story
        A name in `STORIES`.
    frame_shape
        (C, S, S).
    sizes
        "small": few channels, for a CPU; "published": networks, batch and
        weights of the papers, for frames of 64 x 64. A scale that a paper has for 64 x 64 is
        divided by 64 / S, since S x S has that many fewer pixels to weigh against one KL.

    Raises
    ------
    InputError
        No such story, or sizes; or published ones of a story that was never published for videos.
    """
    if story not in STORIES:
        raise unknown("story", story, STORIES)
    if sizes not in SIZES:
        raise unknown("sizes", sizes, SIZES)
    if sizes == "small":
        return _small(story, frame_shape)
    if story in SEQUENCE:
        found, wanted = f"'published' for {story}", f"'small', or one of {', '.join(VIDEO)}"
        raise InputError("sizes", found, wanted, "sizes='small'")
    return _published(story, frame_shape)


def _small(story: str, shape: Shape) -> Recipe:
    """Few channels and hidden units: what one core can train at 32 x 32."""
    net: dict[str, Any] = {"width": 8, "scale": 0.2, "decoder_dims": [128, 128, 128]}
    if story == "SRVP":
        sizes = {"code_dim": 128, "content_dim": 128, "hidden_dims": [128, 128], "latent_dim": 20}
        options = {**net, **sizes, "last_gain": 0.141}  # for Muon
        guide = {"start_dims": [128], "recurrent_dim": 128}
        return Recipe(VideoDesign(story, shape, options, guide), {"z": Z_WEIGHT})
    if story in ("SVGLP", "SVGFP"):
        options = {**net, "recurrent_dim": 128, "code_dim": 128}
        return Recipe(VideoDesign(story, shape, options, {"recurrent_dim": 128}))
    if story == "SV2P":
        options = {"width": net["width"], "scale": net["scale"]}
        design = VideoDesign(story, shape, options, {"width": 8})
        return Recipe(design, staged=True, batch_size=16, learning_rate=5e-3)  # better than 32, .01
    frames = {**net, "code_dim": 128}
    return Recipe(VideoDesign(story, shape, {"latent_dim": 20}, {}, frames))


def _published(story: str, shape: Shape) -> Recipe:
    """Networks as published for stochastic moving MNIST, with batch normalisation."""
    share, norm = shape[1] / 64, {"norm": "batch"}
    if story == "SRVP":
        design = VideoDesign(story, shape, {"scale": share, **norm})
        return Recipe(design, {"z": 2.0}, 1.0, batch_size=128, learning_rate=3e-4, optimizer=None)
    if story == "SV2P":
        return Recipe(
            VideoDesign(story, shape),
            staged=True,
            batch_size=32,
            learning_rate=1e-3,
            optimizer=None,
        )
    scale = math.sqrt(4096 * 1e-4 / 2)  # a mean over 4,096 pixels, and beta 1e-4
    design = VideoDesign(story, shape, {"scale": scale * share, **norm})
    return Recipe(design, batch_size=100, learning_rate=2e-3, optimizer=None)
