from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.metrics.frechet_speech import FEATURES, frechet_speech_distance, speech_features
from ppl_models.errors import InputError

REAL = Path(__file__).parents[4] / "shared" / "data" / "an4"


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
