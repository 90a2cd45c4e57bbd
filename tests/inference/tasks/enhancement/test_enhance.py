"""Speech out of noise: every method, whatever is recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from inference.errors import CheckpointError
from inference.tasks.enhancement import (
    Adaptation,
    EnhancementSettings,
    NMFNoise,
    enhance,
    fit_noise,
    fresh,
    infer_noisy,
    load_noise,
    save_noise,
)
from inference.tasks.separation import Ascent
from ppl_models.errors import InputError
from ppl_models.likelihoods import to_bins
from tests.inference.tasks.sound_models import SLOW, saved

METHODS = ("nmf", "una", "und", "unda")


def wave(samples: int, seed: int = 0) -> Tensor:
    return 0.2 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("speech"), "speech", "RVAE")


@pytest.fixture(scope="module")
def model(speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_noise(tmp_path_factory.mktemp("noise"), fresh(speech, "NOLV"))


def quick(speech: Path) -> EnhancementSettings:
    few = Adaptation(iterations=2, num_samples=2)
    return EnhancementSettings(NMFNoise(2, 5, ascent=Ascent(3, 0.1, 2)), few, few, "LV", speech)


def run(method: Any, recording: Tensor, speech: Path, model: Path, **options: Any) -> Any:
    given = model if method in ("und", "unda") else None
    return enhance(recording, method=method, model=given, settings=quick(speech), **options)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("samples", [1, 63, 500])
def test_speech_and_noise_add_up(method: str, samples: int, speech: Path, model: Path) -> None:
    found = run(method, wave(samples), speech, model)
    assert found.wave.shape == (samples,) and found.wave.isfinite().all()
    assert torch.allclose(found.wave + found.noise, wave(samples))
    assert found.rate == 1000


@pytest.mark.parametrize("method", METHODS)
def test_silence_stays_silent(method: str, speech: Path, model: Path) -> None:
    found = run(method, torch.zeros(300), speech, model)
    assert not found.wave.any() and not found.noise.any()


@pytest.mark.parametrize("method", ["nmf", "und"])
def test_a_long_recording_comes_in_pieces(method: str, speech: Path, model: Path) -> None:
    seen = list[tuple[int, int]]()
    found = run(
        method, wave(90_000), speech, model, progress=lambda i, n: seen.append((i, n))
    )  # 90 s at 1 kHz: ten pieces
    assert found.wave.isfinite().all() and seen == [(1, 2), (2, 2)]


def test_the_same_seed_gives_the_same_speech(speech: Path, model: Path) -> None:
    first, second = (run("nmf", wave(300), speech, model, seed=1) for _ in range(2))
    assert torch.equal(first.wave, second.wave)
    assert not torch.equal(first.wave, run("nmf", wave(300), speech, model, seed=2).wave)


def test_adapting_does_not_change_the_model(speech: Path, model: Path) -> None:
    first = run("unda", wave(300), speech, model)
    run("unda", wave(400, 1), speech, model)
    assert torch.equal(first.wave, run("unda", wave(300), speech, model).wave)


def test_una_begins_anew_for_each_recording(speech: Path, model: Path) -> None:
    first = run("una", wave(300), speech, model)
    run("una", 3 * wave(400, 1), speech, model)
    assert torch.equal(first.wave, run("una", wave(300), speech, model).wave)


def test_what_cannot_be_done_is_refused(speech: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="method"):
        enhance(wave(300), method="best")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="learns anew"):
        enhance(wave(300), method="nmf", model=model)
    with pytest.raises(InputError, match="train-noise"):
        enhance(wave(300), method="und", model=tmp_path / "nothing")
    with pytest.raises(CheckpointError):
        enhance(wave(300), method="und", model=saved(tmp_path, "other") / "pair.safetensors")
    with pytest.raises(InputError, match="not finite"):
        run("nmf", torch.tensor([0.1, float("inf")]), speech, model)


@pytest.mark.parametrize("kind", ["LV", "NO", "NOLV"])
def test_noise_is_learned_from_noisy_speech_and_kept(
    kind: str, speech: Path, tmp_path: Path
) -> None:
    found = fresh(speech, kind)
    before = [p.clone() for p in found.model.speech.parameters()]
    pieces = to_bins(SLOW.analyse(torch.stack([wave(300, seed) for seed in range(8)])))
    run = fit_noise(found, pieces, epochs=6)
    assert run.epochs == 6
    for old, new in zip(before, found.model.speech.parameters(), strict=True):
        assert torch.equal(old, new)  # the speech stays as it was
    again = load_noise(save_noise(tmp_path / "run", found))
    assert again.kind == kind and again.stft == SLOW
    x = pieces[:1]
    latents = {"z": torch.zeros(1, pieces.shape[1], 2)}
    for one, other in zip(
        found.model.variances_of(x, latents), again.model.variances_of(x, latents), strict=True
    ):
        assert torch.equal(one, other)


def test_a_damaged_model_is_named(model: Path, tmp_path: Path) -> None:
    spoilt = tmp_path / "noise.safetensors"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    spoilt.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match="noise.safetensors"):
        load_noise(spoilt)


def test_networks_tell_of_their_iterations(speech: Path) -> None:
    found, seen = fresh(speech, "NOLV"), list[int]()
    o = to_bins(SLOW.analyse(wave(200)))[None]
    mask = torch.ones(o.shape[:2], dtype=torch.bool)
    how = Adaptation(iterations=3, num_samples=2)
    infer_noisy(found.model, found.guide, o, mask, how, seeds=[0], progress=seen.append)
    assert seen == [1, 2, 3]
