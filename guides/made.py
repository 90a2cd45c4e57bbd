"""The guide of the autoregressive density, which leaves nothing to infer."""

from __future__ import annotations

from torch import Tensor, nn


class MADEGuide(nn.Module):
    """The empty guide of :class:`ppl_models.made.MADE`, which has nothing latent."""

    def forward(self, x: Tensor | None = None, num_data: int = 1) -> None:
        """Draw nothing."""
