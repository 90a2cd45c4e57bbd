"""Noise learned from a folder of noisy recordings."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from inference.checkpoint import load
from inference.tasks.enhancement import fit_noise, fresh, load_noise, save_noise, train_noise
from inference.tasks.enhancement.nmf_noise import (
    HIGH,
    LOW,
    NMFNoise,
    infer_speech,
    mixed,
    noise_floor,
    start_level,
)
from inference.tasks.separation import Ascent, Posterior
from ppl_models.errors import InputError
from ppl_models.likelihoods import bin_power, to_bins
from tests.inference.cli.sounds import written
from tests.inference.tasks.sound_models import SLOW, saved, source


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    return saved(tmp_path, "speech", "RVAE")


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    for seed in range(3):
        written(tmp_path / "noisy" / f"{seed}.wav", 900, seed)
    return tmp_path / "noisy"


def test_a_folder_is_learned_from_and_a_run_goes_on(
    tmp_path: Path, noisy: Path, speech: Path
) -> None:
    said = list[str]()
    options = {"speech": speech, "kind": "NO", "resolution": 5, "seed": 2}
    whole = train_noise(noisy, tmp_path / "whole", epochs=4, tell=said.append, **options)
    assert said[0] == "3 pieces of up to 64 frames"
    found = load_noise(tmp_path / "whole")
    assert (found.kind, found.resolution, found.path) == ("NO", 5, whole)
    assert load(whole).extra == {"seed": 2, "epochs": 4}
    again = train_noise(noisy, tmp_path / "whole", epochs=4, resume=True, **options)
    for name, tensor in load(again).tensors.items():
        assert torch.equal(tensor, found.model.state_dict().get(name[6:], tensor))


def test_rates_channels_and_damaged_files(tmp_path: Path, noisy: Path, speech: Path) -> None:
    written(noisy / "other.wav", 1800, 4, rate=2000)
    (noisy / "broken.wav").write_bytes(b"RIFF and no more")
    said, out = list[str](), tmp_path / "run"
    with pytest.raises(InputError, match=r"broken|other"):
        train_noise(noisy, out, speech=speech, epochs=1)
    options = {"resample": True, "channel": "mix", "on_error": "skip", "tell": said.append}
    train_noise(noisy, out, speech=speech, epochs=1, **options)  # type: ignore[arg-type]
    assert "broken.wav" in said[0] and said[1].startswith("4 pieces")


def test_padding_is_not_learned_from(tmp_path: Path, speech: Path) -> None:
    waves = 0.2 * torch.randn(4, 300, generator=torch.Generator().manual_seed(0))
    pieces = to_bins(SLOW.analyse(waves))
    mask = torch.ones(pieces.shape[:2], dtype=torch.bool)
    mask[:, -5:] = False
    runs = []
    for filler in (0.0, torch.nan):
        found = fresh(speech, "LV", 1, seed=3)
        data = torch.where(mask[..., None], pieces, filler)
        fit_noise(found, data, tmp_path / f"run{filler}", mask=mask, epochs=2)
        runs.append(found)
    for one, other in zip(*(run.model.noise.parameters() for run in runs), strict=True):
        assert torch.equal(one, other)
    assert (tmp_path / "run0.0").is_dir()


def test_facts_are_kept_with_a_model(tmp_path: Path, speech: Path) -> None:
    path = save_noise(tmp_path / "one.safetensors", fresh(speech), {"corpus": "office"})
    assert load(path).extra == {"corpus": "office"}


def test_the_floor_of_white_noise_is_its_power() -> None:
    power = torch.empty(1, 1000, 257).exponential_(generator=torch.Generator().manual_seed(0))
    mask = torch.ones(1, 1000, dtype=torch.bool)
    for quantile in (0.3, 0.6):
        floor = noise_floor(3 * power, mask, quantile)
        # quantiles of 1000 frames, and of 257 bins, scatter by 5 and 10 %; their mean by much less
        assert floor.mean().item() == pytest.approx(3.0, rel=0.05)
        assert start_level(3 * power, floor, mask) == HIGH
        louder = 3 * power + torch.where(torch.arange(1000) % 5 == 0, 100.0, 0.0)[None, :, None]
        assert start_level(louder, floor, mask) == LOW


def test_progress_is_told_by_iteration() -> None:
    pair = source(9)
    o = torch.randn(1, 6, 18, generator=torch.Generator().manual_seed(0))
    mask, seen = torch.ones(1, 6, dtype=torch.bool), list[int]()
    how = NMFNoise(2, 3, ascent=Ascent(3, 0.1, 2))
    found = infer_speech(pair, o, mask, how, seeds=[0], progress=seen.append)
    assert seen == [1, 2, 3, 4, 5, 6] and found.objective.shape == (3, 1)
    alone = infer_speech(pair, o, mask, how._replace(other=0.0), seeds=[0])
    swapped = infer_speech(pair, o, mask, how._replace(other=1.0), seeds=[0])
    half = infer_speech(pair, o, mask, how._replace(other=0.5), seeds=[0])
    assert torch.allclose(half.mean, (alone.mean + swapped.mean) / 2, atol=1e-6)
    assert not torch.allclose(alone.mean, swapped.mean, atol=1e-3)


def test_the_posterior_is_the_mixture_of_its_ends() -> None:
    """Mean, variance and bound of two ends, against sums by hand."""
    generator = torch.Generator().manual_seed(0)

    def end(bound: float) -> Posterior:
        mean = torch.randn(2, 3, 4, 10, generator=generator)
        some = torch.rand(2, 3, 4, 5, generator=generator)
        values = torch.full((2,), bound)
        return Posterior(mean, some, some, values, values * torch.nan, values.expand(6, 2))

    one, other = end(-7.0), end(-5.0)
    found = mixed([one, other], [0.75, 0.25])
    mean = 0.75 * one.mean + 0.25 * other.mean
    second = [bin_power(e.mean) + e.variance for e in (one, other)]
    variance = 0.75 * second[0] + 0.25 * second[1] - bin_power(mean)
    assert torch.allclose(found.mean, mean, atol=1e-6)
    assert torch.allclose(found.variance, variance, atol=1e-5)
    assert torch.allclose(found.bound, torch.full((2,), -6.5))
    assert found.objective.shape == (6, 2) and found.bound_error.isnan().all()
    assert torch.equal(mixed([one], [1.0]).mean, one.mean)
