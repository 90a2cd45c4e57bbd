"""Guides of the models of tables with gaps."""

from __future__ import annotations

from guides.acquisition.archetypal_audiogram import ArchetypalAudiogramGuide
from guides.acquisition.gp_audiogram import GPAudiogramGuide

__all__ = [
    "ArchetypalAudiogramGuide",
    "GPAudiogramGuide",
]
