"""The guide of the restricted Boltzmann machine, which leaves nothing to infer."""

from __future__ import annotations

from guides.base import EmptyGuide
from ppl_models.rbm import RBM


class RBMGuide(EmptyGuide[RBM]):
    """The empty guide of :class:`ppl_models.rbm.RBM`, whose hidden bits are summed.

    Parameters
    ----------
    model : RBM
    """
