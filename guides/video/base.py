"""What the guides of videos share: latents of given frames, read off their codes at once."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

from guides.base import ReadingGuide, needed
from ppl_models.distributions import AutoregressiveNormal
from ppl_models.sequences import Moments, sequence_plate
from ppl_models.video import VideoModel

Model = TypeVar("Model", bound=VideoModel)


class VideoGuide(ReadingGuide[Model]):
    """q(latents | s) of a `VideoModel`."""

    def forward(self, s: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Sample the latents of B videos s (B, T, D), the mask as in the model.

        Raises
        ------
        InputError
            ``s`` is missing, not (B, T, D) or not finite, or the mask has a hole.
        """
        s = needed(s, expected="videos (B, T, D)")
        with sequence_plate(s, mask, self.model.data_dim):
            self.model.check_frames(s, mask, 0)
            return self.latents(self.model.read(s, mask, keep=True).codes, mask)

    def latents(self, codes: Tensor, mask: Tensor | None) -> Tensor:
        """Sample the latents of videos read as codes (B, T, F); return z."""
        raise NotImplementedError


def independent(moments: Moments, mask: Tensor | None = None) -> AutoregressiveNormal:
    """Return the path (..., T, L) of latents that do not read one another, as one site."""
    mean, scale = moments

    def draw(batch: torch.Size) -> Tensor:
        noise = torch.randn(*batch, *mean.shape[-2:], dtype=mean.dtype, device=mean.device)
        return torch.addcmul(mean, scale, noise)

    shape = (mean.shape[-2], mean.shape[-1])
    return AutoregressiveNormal(
        lambda z: moments, draw, shape, batch_shape=tuple(mean.shape[:-2]), mask=mask
    )
