"""Models of tables with gaps, of which one measures one number after another."""

from __future__ import annotations

from ppl_models.acquisition.archetypal_audiogram import ArchetypalAudiogram, ArchetypePosterior
from ppl_models.acquisition.gp_audiogram import GPAudiogram, Thresholds
from ppl_models.acquisition.not_miwae import NotMIWAE
from ppl_models.acquisition.partial_vae import PartialVAE, checked_columns

__all__ = [
    "ArchetypalAudiogram",
    "ArchetypePosterior",
    "GPAudiogram",
    "NotMIWAE",
    "PartialVAE",
    "Thresholds",
    "checked_columns",
]
