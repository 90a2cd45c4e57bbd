"""Models of noisy speech on disk: a speech model, a noise network, and how spectra are taken."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import torch

from guides.audio import NoisySpeechGuide
from inference.checkpoint import load, save
from inference.errors import CheckpointError
from inference.randomness import derive, seeded
from inference.tasks.speech import Design, load_speech
from ppl_models.audio import LVNoise, NeuralNoise, NoisySpeech, NOLVNoise, NONoise, as_source_pair
from ppl_models.data.stft import STFT
from ppl_models.errors import InputError, unknown

NOISES: Mapping[str, type[NeuralNoise]] = {"LV": LVNoise, "NO": NONoise, "NOLV": NOLVNoise}
"""Noise networks by the papers' names."""
SPEECH, NOISE = "speech", "noise"
"""Names of the models that ship: of speech, and of noisy speech."""
FILE = "noise.safetensors"
LARGEST = 10_000
"""Most bins of a resolution in a file's settings."""


class NoiseModel(NamedTuple):
    """A pair of noisy speech, what it was built from, and its file."""

    model: NoisySpeech
    guide: NoisySpeechGuide
    stft: STFT
    design: Design
    kind: str
    resolution: int
    path: Path


def fresh(
    speech: str | os.PathLike[str] = SPEECH, kind: str = "LV", resolution: int = 65, seed: int = 0
) -> NoiseModel:
    """Return a trained model of clean speech, beside a noise network without training.

    ``kind`` is one of `NOISES`; ``resolution`` is that of `ppl_models.audio.NeuralNoise`.

    Raises
    ------
    InputError
        No such speech or kind, or a speech model whose frames read earlier ones.
    """
    found = load_speech(speech, argument="speech")
    model, guide = as_source_pair(found.model, found.guide)
    pair = _pair(model, guide, kind, resolution, seed)
    return NoiseModel(*pair, found.stft, found.design, kind, resolution, found.path)


def _pair(
    speech: Any, guide: Any, kind: str, resolution: int, seed: int = 0
) -> tuple[NoisySpeech, NoisySpeechGuide]:
    if kind not in NOISES:
        raise unknown("kind", kind, NOISES)
    with seeded(derive(seed, "noise weights")):
        noise = NOISES[kind](speech.data_dim // 2, speech.latent_dim, resolution=resolution)
    reader, heard = speech.likelihood.reader, noise.likelihood.reader
    heard.centre.copy_(reader.centre)
    heard.spread.copy_(reader.spread)
    model = NoisySpeech(speech, noise).eval()
    model.speech.requires_grad_(False)
    return model, NoisySpeechGuide(model, guide).eval()


def save_noise(path: str | os.PathLike[str], found: NoiseModel, extra: Any = None) -> Path:
    """Write a model of noisy speech into a run's folder, or a file; return the file."""
    target = Path(path)
    target = target if target.suffix == ".safetensors" else target / FILE
    config: dict[str, Any] = {"speech": found.design.as_json(), "noise": found.kind}
    config["resolution"] = found.resolution
    pair = {"model": found.model, "guide": found.guide}
    save(target, pair, model="NoisySpeech", config=config, extra=extra)
    return target


def load_noise(path: str | os.PathLike[str] = NOISE) -> NoiseModel:
    """Read a model of noisy speech: a run's folder, its file, or the one that ships (``noise``).

    Raises
    ------
    CheckpointError
        The file is missing, damaged, or of another kind.
    InputError
        Settings in it that build nothing.
    """
    target = _find(Path(path))
    config = load(target, model="NoisySpeech").config
    if not isinstance(config, dict) or config.keys() != {"speech", "noise", "resolution"}:
        cure = "give a run of `ppl enhance --train-noise`"
        raise CheckpointError(target, "other settings", "a model of noisy speech", cure)
    kind, resolution = config["noise"], config["resolution"]
    if kind not in NOISES or not isinstance(resolution, int) or not 0 < resolution < LARGEST:
        found, cure = f"noise {kind!r}, resolution {resolution!r}", "get the file again"
        raise CheckpointError(target, found, f"one of {', '.join(NOISES)}, and bins", cure)
    design = Design.from_json(config["speech"])
    with torch.device("meta"):
        outline = _pair(*as_source_pair(*design.pair()), kind, 1)
    _check_sizes(target, outline)
    pair = _pair(*as_source_pair(*design.pair()), kind, resolution)
    load(target, into={"model": pair[0], "guide": pair[1]}, model="NoisySpeech")
    return NoiseModel(*pair, design.stft, design, kind, resolution, target)


def _check_sizes(path: Path, outline: tuple[NoisySpeech, NoisySpeechGuide]) -> None:
    """Compare how many numbers settings ask for with how many there are."""
    asked = sum(t.numel() for part in outline for t in part.state_dict().values())
    held = sum(t.numel() for t in load(path).tensors.values())
    if asked != held:
        found = f"settings of {asked:,} numbers, and {held:,} numbers"
        raise CheckpointError(path, found, "as many", "get the file again")


def _find(path: Path) -> Path:
    """Return the file that is meant: a folder of recordings named ``noise`` hides nothing."""
    shipped = Path(str(files("ppl_models"))) / "weights" / f"{NOISE}.safetensors"
    if path.is_dir() and (str(path) != NOISE or (path / FILE).exists()):
        return path / FILE
    if str(path) == NOISE and shipped.exists():
        return shipped
    if not path.is_file():
        ships = f", or {NOISE!r}, which ships" * shipped.exists()
        cure = "make one with `ppl enhance --train-noise FOLDER`"
        raise InputError("--model", f"no {path}", f"a run's folder, its {FILE}{ships}", cure)
    return path
