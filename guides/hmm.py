"""The guide of the hidden Markov model, whose states are summed: nothing is left to sample."""

from __future__ import annotations

from guides.base import EmptyGuide
from ppl_models.hmm import HMM


class HMMGuide(EmptyGuide[HMM]):
    """The empty guide of :class:`ppl_models.hmm.HMM`, in both of its forms.

    The bound is then the evidence. The posterior of the states is the model's own: `HMM.filter`,
    `HMM.smooth`, `HMM.viterbi`, `HMM.posterior`.

    Parameters
    ----------
    model : HMM
    """
