"""The guide of the hidden Markov model, whose states are summed: it leaves nothing to draw."""

from __future__ import annotations

from torch import Tensor, nn


class HMMGuide(nn.Module):
    """The empty guide of :class:`ppl_models.hmm.HMM`, in both of its forms.

    The bound is then the evidence. The posterior of states is the model's own: `HMM.filter`,
    `HMM.smooth`, `HMM.viterbi`, `HMM.posterior`.
    """

    def forward(
        self,
        s: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        size: int = 1,
        length: int = 60,
    ) -> None:
        """Draw nothing."""
