"""The guide of the energy-based density, which leaves nothing to infer."""

from __future__ import annotations

from torch import Tensor, nn


class RBMGuide(nn.Module):
    """The empty guide of :class:`ppl_models.rbm.RBM`, whose hidden bits are summed."""

    def forward(self, x: Tensor | None = None, num_data: int = 1) -> None:
        """Draw nothing."""
