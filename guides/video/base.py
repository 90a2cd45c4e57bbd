"""What the guides of videos share: latents of given videos, read off them at once."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

from guides.base import ReadingGuide, needed
from ppl_models.video import CodedVideoModel, VideoModel

Model = TypeVar("Model", bound=VideoModel)
Coded = TypeVar("Coded", bound=CodedVideoModel)


class VideoGuide(ReadingGuide[Model]):
    """q(latents | s) of a `VideoModel`."""

    def forward(self, s: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Sample the latents of B videos s (B, T, D), the mask as in the model.

        Raises
        ------
        InputError
            ``s`` is missing, or not as the model asks, or the mask has a hole.
        """
        s = needed(s, expected="videos (B, T, D)")
        with self.model.videos(s, mask):
            return self.latents(self.read(s, mask), mask)

    def read(self, s: Tensor, mask: Tensor | None) -> Tensor:
        """Return what latents are read off: something (B, T, ...) of each frame."""
        raise NotImplementedError

    def latents(self, read: Tensor, mask: Tensor | None) -> Tensor:
        """Sample the latents of videos read so; return z."""
        raise NotImplementedError


class CodeGuide(VideoGuide[Coded]):
    """q(latents | s) of a `CodedVideoModel`, by the codes of frames that the model reads too."""

    def read(self, s: Tensor, mask: Tensor | None) -> Tensor:
        """Return the codes (B, T, F)."""
        return self.model.read(s, mask, keep=True).codes
