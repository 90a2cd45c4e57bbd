"""The guide of independent component analysis, which leaves nothing to infer."""

from __future__ import annotations

from torch import Tensor, nn


class ICAGuide(nn.Module):
    """The empty guide of :class:`ppl_models.ica.ICA`: x tells its sources exactly."""

    def forward(self, x: Tensor | None = None, num_data: int = 1) -> None:
        """Draw nothing."""
