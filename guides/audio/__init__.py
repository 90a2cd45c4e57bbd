"""Guides of sound, in files with the names of their models."""

from __future__ import annotations

from guides.audio.bin_mixture import BinMixtureGuide
from guides.audio.hum import HumGuide
from guides.audio.nmf import NMFGuide
from guides.audio.noisy_speech import NoisySpeechGuide
from guides.audio.parts import PartsGuide, latents_of, with_power
from guides.audio.source_sum import SourcesGiven, SourceSumGuide
from guides.audio.temporal_nmf import TemporalNMFGuide

__all__ = [
    "BinMixtureGuide",
    "HumGuide",
    "NMFGuide",
    "NoisySpeechGuide",
    "PartsGuide",
    "SourceSumGuide",
    "SourcesGiven",
    "TemporalNMFGuide",
    "latents_of",
    "with_power",
]
