"""Small sources of complex bins, untrained, whose frames differ in loudness and shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from guides.dvae import FrameVAEGuide, SRNNGuide
from inference.randomness import seeded
from inference.tasks.speech import Design, save_speech
from inference.tasks.speech.files import LATENT_FREE
from ppl_models.audio import as_source_pair
from ppl_models.data.stft import STFT
from ppl_models.dvae import SRNN, FrameVAE
from ppl_models.likelihoods import ComplexGaussian

SLOW = STFT(1000, 64, 16)
"""33 bins, of sounds of 1 kHz."""


def source(bins: int, latent_dim: int = 2, seed: int = 0, spread: float = 3.0) -> tuple[Any, Any]:
    """Return a frame-wise source, its decoder made steeper, and its guide."""
    with seeded(seed):
        model = FrameVAE(bins, latent_dim, likelihood=ComplexGaussian(bins))
        guide = FrameVAEGuide(model)
        for weight in model.parameters():
            weight.data.mul_(spread)
    pair = as_source_pair(model, guide)
    for module in pair:
        module.requires_grad_(False)
    return pair


def recurrent(bins: int, seed: int = 0) -> tuple[Any, Any]:
    """Return an SRNN of complex bins, which reads its own past frames."""
    with seeded(seed):
        model = SRNN(bins, 2, likelihood=ComplexGaussian(bins))
        guide = SRNNGuide(model, causal=False)
    pair = as_source_pair(model, guide)
    for module in pair:
        module.requires_grad_(False)
    return pair


def powers(like: Tensor) -> Tensor:
    """Return powers of frames, for levels."""
    return torch.rand_like(like) + 0.1


def saved(folder: Path, name: str, architecture: str = "FrameVAE", seed: int = 0) -> Path:
    """Write an untrained source of `SLOW`'s spectra; return its folder."""
    latent_dim = 0 if architecture in LATENT_FREE else 2
    design = Design(architecture, latent_dim=latent_dim, stft=SLOW)
    waves = torch.randn(3, 800, generator=torch.Generator().manual_seed(seed))
    pair = design.pair(SLOW.power(0.3 * waves), seed)
    save_speech(folder / name, design, *pair)
    return folder / name
