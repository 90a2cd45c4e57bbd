from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import Tensor

from inference.metrics.frechet import (
    FEATURES,
    frechet_distance,
    frechet_of_features,
    frechet_speech_distance,
    speech_features,
)
from ppl_models.errors import InputError

REAL = Path(__file__).parents[4] / "shared" / "data" / "an4"


def moments(seed: int, size: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return torch.randn(size, generator=generator, dtype=torch.float64), root @ root.mT


def harmonic(count: int, seed: int, samples: int = 32000) -> list[Tensor]:
    """Harmonics of gliding pitches under moving formants, in syllables."""
    draw = np.random.default_rng(seed)
    time, sounds = torch.arange(samples) / 16000, []
    for _ in range(count):
        glide = 1 + 0.1 * torch.sin(2 * math.pi * draw.uniform(1, 3) * time)
        phase = (draw.uniform(90, 250) * glide).cumsum(0) * 2 * math.pi / 16000
        first = 500 + 200 * torch.sin(2 * math.pi * draw.uniform(2, 5) * time)
        frequency = phase.diff(prepend=phase[:1]) * 16000 / (2 * math.pi)
        voice = torch.zeros(samples)
        for k in range(1, 20):
            loud = torch.exp(-((k * frequency - first) / 300).square()) + 0.3 / k
            voice += loud * torch.sin(k * phase)
        sounds.append(voice * torch.sin(math.pi * draw.uniform(3, 5) * time).abs())
    return sounds


def noisy(sounds: list[Tensor], decibels: float, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    noise = [torch.randn(x.shape, generator=generator) for x in sounds]
    scale = 10 ** (-decibels / 20)
    return [x + scale * x.norm() / n.norm() * n for x, n in zip(sounds, noise, strict=True)]


def white(sounds: list[Tensor]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(x.shape, generator=generator) for x in sounds]


def test_the_distance_is_the_closed_form_of_the_papers() -> None:
    (m1, c1), (m2, c2) = moments(0), moments(1)
    root = linalg.sqrtm((c1 @ c2).numpy())
    exact = float((m1 - m2).square().sum() + c1.trace() + c2.trace()) - 2 * np.trace(root).real
    assert math.isclose(frechet_distance(m1, c1, m2, c2), exact, rel_tol=1e-10)
    assert math.isclose(frechet_distance(m2, c2, m1, c1), exact, rel_tol=1e-10)
    one, two = torch.tensor([3.0]), torch.tensor([[4.0]])  # (3 - 0)^2 + (2 - 1)^2
    assert math.isclose(frechet_distance(one, two, 0 * one, two / 4), 10.0)
    assert frechet_distance(m1, c1, m1, c1) < 1e-13 * float(c1.trace())


def test_covariances_without_full_rank_have_a_distance() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(3, 8, generator=generator, dtype=torch.float64)
    low, other = rows.mT @ rows, torch.eye(8, dtype=torch.float64)
    zero = torch.zeros(8, dtype=torch.float64)
    exact = float(low.trace()) + 8 - 2 * float(torch.linalg.svdvals(rows).sum())
    assert math.isclose(frechet_distance(zero, low, zero, other), exact, rel_tol=1e-9)


def gaussian(seed: int, things: int, which: int, rows: int = 10) -> list[Tensor]:
    mean, cov = moments(which)
    draw = torch.randn(
        things, rows, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return list(mean + draw @ torch.linalg.cholesky(cov).mT)


@pytest.mark.parametrize("seed", range(4))
def test_sets_of_two_gaussians_are_as_far_apart_as_the_gaussians(seed: int) -> None:
    exact = frechet_distance(*moments(0), *moments(1))
    found = frechet_of_features(gaussian(seed, 200, 0), gaussian(seed + 50, 150, 1), batches=20)
    assert found.windows == (2000, 1500) and 0 < found.error < 0.1 * exact
    assert abs(found.distance - found.bias - exact) < 4 * found.error  # standard errors


def test_the_jackknife_knows_the_bias_and_the_error_of_small_sets() -> None:
    runs = [
        frechet_of_features(gaussian(seed, 20, 0, 5), gaussian(1000 + seed, 20, 0, 5), batches=20)
        for seed in range(60)
    ]
    distance, bias = (torch.tensor([run[i] for run in runs]) for i in (0, 2))
    left = distance - bias  # the truth is 0
    assert distance.mean() > 10 * distance.std() / math.sqrt(60)
    assert left.mean().abs() < 0.3 * distance.mean()
    far = [
        frechet_of_features(gaussian(seed, 40, 0), gaussian(1000 + seed, 40, 1), batches=10)
        for seed in range(60)
    ]
    spread = float(torch.tensor([run.distance for run in far]).std())
    claimed = float(torch.tensor([run.error for run in far]).square().mean().sqrt())
    assert 0.7 < claimed / spread < 1.4  # sd of a standard deviation of 60 is 9 %, and of the mean


def test_a_window_is_described_by_what_its_docstring_says() -> None:
    sound = harmonic(1, 0)[0]
    features = speech_features(sound)
    frames = 1 + 32000 // 128
    assert features.shape == (1 + (frames - 64) // 32, FEATURES) and FEATURES == 145
    assert features.isfinite().all() and features.dtype == torch.float64
    assert torch.allclose(speech_features(sound / 128), features)  # whatever its level
    assert len(speech_features(sound[: 62 * 128])) == 0 and len(speech_features(sound[:8192])) == 1


def test_modulation_is_found_in_the_octave_of_its_rhythm() -> None:
    time = torch.arange(32000) / 16000
    noise = torch.randn(32000, generator=torch.Generator().manual_seed(0))
    for hertz, octave in ((2.0, 0), (5.0, 1), (12.0, 2), (23.0, 3)):
        sound = noise * (1 + 0.9 * torch.sin(2 * math.pi * hertz * time))
        octaves = speech_features(sound)[:, 120:].mean(0).unflatten(0, (5, 5))
        assert (octaves.argmax(1) == octave).all()


def test_steady_noise_has_no_slopes_and_a_rising_one_has() -> None:
    noise = torch.randn(32000, generator=torch.Generator().manual_seed(0))
    rising = noise * 10 ** (torch.arange(32000) / 16000)  # 20 dB a second
    slope = speech_features(rising)[1:-1, 20].mean()
    steady = speech_features(noise)[1:-1, 20].mean()
    # the first cosine coefficient is sqrt(40) times the mean log; 2 ln 10 nepers of power a second
    assert abs(slope - math.sqrt(40) * 2 * math.log(10) * 0.008) < 0.03 and abs(steady) < 0.03


def test_exact_speech_is_nearer_than_noisy_speech_and_noise_the_farthest(untouched: None) -> None:
    recorded, others = harmonic(20, 0), harmonic(20, 1)
    same = frechet_speech_distance(recorded, recorded)
    assert same.distance < 1e-9 and same.error < 1e-9
    sets = (others, noisy(others, 20), noisy(others, 10), white(others))
    found = [frechet_speech_distance(recorded, one) for one in sets]
    for near, far in zip(found, found[1:], strict=False):
        assert far.distance - near.distance > 4 * math.hypot(near.error, far.error)
    again = frechet_speech_distance(recorded, others)
    assert again == found[0] and again.windows == (20 * 6, 20 * 6)
    other = frechet_speech_distance(recorded, others, seed=1)  # deals the batches otherwise
    assert math.isclose(other.distance, again.distance, rel_tol=1e-9) and other != again


def test_what_is_wrong_is_named() -> None:
    sounds = harmonic(3, 0)
    for wrong in (torch.zeros(2, 8192), sounds[0] * math.nan, torch.zeros(9000), torch.zeros(0)):
        with pytest.raises(InputError, match="wave"):
            speech_features(wrong)
    with pytest.raises(InputError, match="batches"):
        frechet_speech_distance(sounds, sounds, batches=1)
    with pytest.raises(InputError, match="generated: saw 2 of half a second"):
        frechet_speech_distance(sounds, [*sounds[:2], sounds[0][:1000]], batches=3)
    with pytest.raises(InputError, match="recorded: saw 0"):
        frechet_speech_distance([], sounds)
    mean, cov = moments(0)
    with pytest.raises(InputError, match=r"\(4,\), \(4, 4\), \(3,\)"):
        frechet_distance(mean, cov, mean[1:], cov)
    with pytest.raises(InputError, match="not finite"):
        frechet_distance(mean * math.nan, cov, mean, cov)


@pytest.mark.skipif(not REAL.is_dir(), reason="AN4 is not there (../shared/data/an4)")
def test_real_speech_of_others_is_nearer_than_the_same_speech_in_noise() -> None:
    pytest.importorskip("soundfile", reason="reading sound needs the extra [audio]")
    from ppl_models.data.speech import an4, sounds

    corpus = an4(REAL)
    recorded = sounds(corpus.validation[::2])
    sets = sounds(corpus.test), noisy(recorded, 10), white(recorded)
    found = [frechet_speech_distance(recorded, one) for one in sets]
    for near, far in zip(found, found[1:], strict=False):
        assert far.distance - near.distance > 4 * math.hypot(near.error, far.error)
