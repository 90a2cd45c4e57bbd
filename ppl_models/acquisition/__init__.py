"""Models of tables with gaps, of which one measures one number after another."""

from __future__ import annotations

from ppl_models.acquisition.archetypal_audiogram import ArchetypalAudiogram, ArchetypePosterior
from ppl_models.acquisition.gp_audiogram import GPAudiogram, Thresholds

__all__ = [
    "ArchetypalAudiogram",
    "ArchetypePosterior",
    "GPAudiogram",
    "Thresholds",
]
