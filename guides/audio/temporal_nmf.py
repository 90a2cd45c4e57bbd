"""The guide of TemporalNMF: that of NMF, with the updates that keep activations continuous.

References: those of `ppl_models.audio.temporal_nmf`.
"""

from __future__ import annotations

from guides.audio.nmf import NMFGuide
from ppl_models.audio import TemporalNMF


class TemporalNMFGuide(NMFGuide[TemporalNMF]):
    """q(h | s) of `TemporalNMF`.

    Parameters
    ----------
    model : TemporalNMF
    iterations : int
        Updates of h.
    """
