"""Small pairs of the family and made-up sounds, for the tests of speech."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inference.tasks.speech.files import Design, save_speech
from ppl_models.data.sound import write_sound
from ppl_models.data.stft import STFT

STFT_SMALL = STFT(rate=1000, window_ms=64, hop_ms=16)
RECURRENT: dict[str, Any] = {"recurrent_dim": 6}
ATTENTIVE: dict[str, Any] = {"global_dim": 3, "dim": 8, "heads": 2, "window": 8}
SRNN: dict[str, Any] = {"input_dim": 6, **RECURRENT, "prior_dims": [5], "emission_dims": [7]}

DESIGNS = {
    design.model + extra: replace(design, latent_dim=3, stft=STFT_SMALL)
    for extra, design in [
        ("", Design("FrameVAE", options={"emission_dims": [8]})),
        ("", Design("DKF")),
        ("", Design("RVAE", options=RECURRENT)),
        ("-non-causal", Design("RVAE", options={**RECURRENT, "causal": False})),
        ("", Design("DSAE", options={**RECURRENT, "global_dim": 3})),
        ("", Design("KVAE", options={"num_modes": 2})),
        ("", Design("STORN", options=RECURRENT)),
        ("", Design("VRNN", options=RECURRENT)),
        ("", Design("SRNN", options=SRNN, guide_options={"causal": False}, scheduled=True)),
        ("", Design("HiTDVAE", options={**ATTENTIVE, "forget": 0.0})),
        ("", Design("LigHTDVAE", options=ATTENTIVE)),
    ]
}


def voice(samples: int = 1500, seed: int = 0) -> Tensor:
    """A sum of tones whose levels come and go, of largest modulus 0.5."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(samples) / STFT_SMALL.rate
    tones = 40 + 400 * torch.rand(5, 1, generator=generator)
    beats = 1 + 4 * torch.rand(5, 1, generator=generator)
    wave = ((2 * torch.pi * tones * time).sin() * (torch.pi * beats * time).sin()).sum(0)
    return 0.5 * wave / wave.abs().max()


def powers(samples: int = 1500, seed: int = 0) -> Tensor:
    """Power spectra (T, F) of a voice."""
    return STFT_SMALL.power(2 * voice(samples, seed))


def pair(name: str, seed: int = 0) -> tuple[Any, Any]:
    """A pair with random weights, in evaluation mode, whose levels are those of a voice."""
    model, guide = DESIGNS[name].pair(powers(), seed)
    return model.eval(), guide.eval()


def saved(folder: Path, name: str = "LigHTDVAE", seed: int = 0) -> Path:
    """Save a pair with random weights as a run."""
    save_speech(folder, DESIGNS[name], *pair(name, seed))
    return folder


def recording(path: Path, samples: int = 1500, seed: int = 0, rate: int = 1000) -> Path:
    """Write a voice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sound(path, voice(samples, seed), rate)
    return path
