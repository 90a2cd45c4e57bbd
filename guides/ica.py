"""The guide of independent component analysis, which leaves nothing to infer."""

from __future__ import annotations

from guides.base import EmptyGuide
from ppl_models.ica import ICA


class ICAGuide(EmptyGuide[ICA]):
    """The empty guide of :class:`ppl_models.ica.ICA`, whose sources are a function of x.

    Parameters
    ----------
    model : ICA
    """
