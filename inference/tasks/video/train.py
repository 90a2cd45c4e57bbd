"""Learn to predict videos from clips: each story's sizes and its published objective."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inference.objectives import Objective, SiteNorm
from inference.schedules import cosine
from inference.tasks.video.files import SEQUENCE, STORIES, VideoDesign, save_video
from inference.training import Run, fit
from ppl_models.data import check_video
from ppl_models.errors import InputError, unknown

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Recipe:
    """How a story is built and fitted.

    Parameters
    ----------
    design
    kl_weight
        By latent site, of `Objective`.
    penalties
        Made anew for each run.
    batch_size, learning_rate, clip
        Of `inference.fit`; the rate rises for a twentieth of the steps, then falls to 0.
    """

    design: VideoDesign
    kl_weight: float | Mapping[str, float] = 1.0
    penalties: Callable[[], tuple[torch.nn.Module, ...]] = tuple
    batch_size: int = 32
    learning_rate: float = 1e-3
    clip: float | None = 100.0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def objective(self) -> Objective:
        """Return what is maximised: the bound, its KL weighted, and the story's penalties."""
        return Objective("meanfield", kl_weight=self.kl_weight, penalties=self.penalties())
