"""The guide of the autoregressive density, which leaves nothing to infer."""

from __future__ import annotations

from guides.base import EmptyGuide
from ppl_models.made import MADE


class MADEGuide(EmptyGuide[MADE]):
    """The empty guide of :class:`ppl_models.made.MADE`, which has no latent variable.

    Parameters
    ----------
    model : MADE
    """
