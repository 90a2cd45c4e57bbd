"""Small honest stand-ins for the tasks behind ``ppl separate`` and ``ppl enhance``.

They divide a sound by masks that depend on the seed and the sources, and add up to it.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from inference.cli.app import main
from inference.tasks.speech import load_speech
from inference.tasks.speech.files import FILE
from ppl_models.data.stft import STFT
from ppl_models.errors import InputError, unknown
from tests.inference.speech import STFT_SMALL, saved, voice

Ppl = Callable[..., tuple[int, str, str]]
SHIPPED = ("speech", "flute")


class Separation(NamedTuple):
    names: tuple[str, ...]
    waves: Tensor
    mean: Tensor
    variance: Tensor
    responsibilities: Tensor
    bound: Tensor
    bound_error: Tensor
    objective: Tensor
    rate: int


class Enhanced(NamedTuple):
    wave: Tensor
    noise: Tensor
    bound: Tensor


class Source(NamedTuple):
    name: str
    stft: STFT
    path: Path


def load_sources(sources: Sequence[str]) -> list[Source]:
    """A folder that only has the name of a source is none; sources that ship have a file."""
    file = Path("ships.safetensors")
    file.write_bytes(b"both")
    found = []
    for name, source in zip(names_of(sources), sources, strict=True):
        if (Path(source) / FILE).exists():
            run = load_speech(source)
            found.append(Source(name, run.stft, run.path))
        elif source in SHIPPED:
            found.append(Source(name, STFT_SMALL, file))
        else:
            raise unknown("--sources", source, SHIPPED)
    if len({one.stft for one in found}) > 1:
        listed = "; ".join(f"{one.name}: {one.stft}" for one in found)
        raise InputError("sources", listed, "sources of one STFT", "train them with one STFT")
    return found


def names_of(sources: Sequence[str]) -> tuple[str, ...]:
    plain = [Path(source).name for source in sources]
    return tuple(
        f"{name}-{plain[: i + 1].count(name)}" if plain.count(name) > 1 else name
        for i, name in enumerate(plain)
    )


def separate_many(
    waves: Sequence[Tensor],
    sources: Sequence[str],
    *,
    share: str = "add",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Separation]:
    if progress is not None:
        progress(1, 2)
    return [_separate(wave, sources, share, seed) for wave in waves]


def enhance(
    wave: Tensor, *, method: str = "nmf", model: str | None = None, seed: int = 0
) -> Enhanced:
    found = _separate(wave, [method, "noise"], "add", seed)
    return Enhanced(*found.waves, found.bound)


def train_noise(folder: Path, out: Path, *, seed: int, resume: bool, **rest: Any) -> Path:
    rest["tell"](f"noise of {len(list(Path(folder).rglob('*.wav')))}, resume={resume}")
    return saved(Path(out), seed=seed) / "pair.safetensors"


def enhancer(method: str, model: str | None) -> tuple[STFT, list[Path]]:
    return STFT_SMALL, [] if model is None else [load_speech(model).path]


def _separate(wave: Tensor, sources: Sequence[str], share: str, seed: int) -> Separation:
    names = names_of(sources)
    o = STFT_SMALL.analyse(wave)
    generator = torch.Generator().manual_seed(seed + zlib.crc32(f"{names}{share}".encode()))
    masks = torch.rand(len(names), *o.shape, generator=generator).softmax(0)
    waves = STFT_SMALL.invert(masks * o, length=len(wave))
    waves[-1] = wave - waves[:-1].sum(0)
    mean = masks * o
    bound = -o.abs().square().sum()
    return Separation(
        names, waves, mean, 0.1 * mean.abs().square(), masks, bound, bound * 0, bound[None], 1000
    )


@pytest.fixture
def ppl(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ppl:
    """Run the command in an empty folder, on the stand-ins; return exit code and texts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    import inference.tasks.separation as separation

    monkeypatch.setattr(separation, "load_sources", load_sources, raising=False)
    monkeypatch.setattr(separation, "separate_many", separate_many, raising=False)
    module = ModuleType("inference.tasks.enhancement")
    for name, function in {
        "enhance": enhance,
        "train_noise": train_noise,
        "stft_and_files": enhancer,
    }.items():
        setattr(module, name, function)
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


def written(path: str | Path, samples: int = 1500, seed: int = 0, **how: Any) -> Path:
    """Write a voice as a program for sound would, of 16 bits at 1000 Hz if nothing else is said."""
    rate, level = how.pop("rate", 1000), how.pop("level", 1.0)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, level * voice(samples, seed).double().numpy(), rate, **how)
    return path


def samples(path: str | Path, kind: str = "int16") -> Any:
    return np.asarray(soundfile.read(path, dtype=kind)[0])
