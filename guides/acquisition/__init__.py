"""Guides of models of tables with gaps, of which one measures one number after another."""

from __future__ import annotations

from guides.acquisition.archetypal_audiogram import ArchetypalAudiogramGuide
from guides.acquisition.gp_audiogram import GPAudiogramGuide
from guides.acquisition.not_miwae import NotMIWAEGuide
from guides.acquisition.partial_vae import PartialVAEGuide

__all__ = [
    "ArchetypalAudiogramGuide",
    "GPAudiogramGuide",
    "NotMIWAEGuide",
    "PartialVAEGuide",
]
