"""Sound: sources of complex bins, and recordings that are made of several."""

from __future__ import annotations

from ppl_models.audio.bin_mixture import BinMixture, loudness
from ppl_models.audio.fit_nmf import fit_nmf
from ppl_models.audio.gains import update_gains
from ppl_models.audio.hum import Hum
from ppl_models.audio.neural_noise import LVNoise, NeuralNoise, NOLVNoise, NONoise
from ppl_models.audio.nmf import NMF
from ppl_models.audio.noisy_speech import SPEECH, NoisySpeech
from ppl_models.audio.parts import (
    Latents,
    Parts,
    as_source,
    as_source_pair,
    bins_plate,
    frames_of,
    mask_of,
    of_bins,
    read_bins,
    variances,
    wiener,
)
from ppl_models.audio.source_sum import SourceSum
from ppl_models.audio.temporal_nmf import TemporalNMF

__all__ = [
    "BinMixture",
    "Hum",
    "LVNoise",
    "Latents",
    "NMF",
    "NOLVNoise",
    "NONoise",
    "NeuralNoise",
    "NoisySpeech",
    "Parts",
    "SPEECH",
    "SourceSum",
    "TemporalNMF",
    "as_source",
    "as_source_pair",
    "bins_plate",
    "fit_nmf",
    "frames_of",
    "loudness",
    "mask_of",
    "of_bins",
    "read_bins",
    "update_gains",
    "variances",
    "wiener",
]
