"""The guide of Hum, which has no latents: empty.

References: those of `ppl_models.audio.hum`.
"""

from __future__ import annotations

from torch import Tensor

from guides.base import EmptyGuide
from ppl_models.audio import Hum


class HumGuide(EmptyGuide[Hum]):
    """The empty guide of `Hum`."""

    def path(self, s: Tensor, mask: Tensor | None = None, noise: float = 1.0) -> None:
        """Sample nothing."""
