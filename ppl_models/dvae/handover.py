"""What a guide has computed on its way to z, handed over to the model that is run next."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ppl_models.dvae.past import Rollout


class Handover(nn.Module):
    """A module that a guide may leave a rollout with.

    A guide that reads h_t saves the model the second reading, and the second rollout where sampling
    is scheduled: without it a training step takes 1.3 to 1.7 times as long (docs/speed.md). With
    scheduled sampling the two must besides have read the same frames.
    """

    _left: tuple[Rollout, int] | None = None

    def leave(self, rollout: Rollout) -> None:
        """Keep what a guide computed, for the model run with this very z and s."""
        self._left = rollout, self._revision()

    def take(self, z: Tensor, s: Tensor) -> Rollout | None:
        """Return what a guide left for these two, once, if it would come out the same today."""
        left, self._left = self._left, None
        if left is None or left[1] != self._revision():
            return None
        rollout, grown = left[0], left[0].h is None or left[0].h.requires_grad
        if rollout.z is not z or not (rollout.s is s or torch.equal(rollout.s, s)):  # a clean copy
            return None
        return rollout if grown or not torch.is_grad_enabled() else None

    def _revision(self) -> int:
        return sum(tensor._version for tensor in (*self.parameters(), *self.buffers()))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_left": None}  # graph tensors can be neither copied nor sent
