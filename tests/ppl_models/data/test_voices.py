from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import solve_toeplitz
from torch import Tensor

from ppl_models.data.voices import FORMANTS, MAN, STEP, VOWELS, Voices, voices
from ppl_models.errors import InputError


def cut(said: Voices, rate: int, row: int, frame: int, seconds: float) -> np.ndarray:
    """Return the samples around the middle of a frame."""
    middle, half = round((frame + 0.5) * STEP * rate), round(seconds * rate / 2)
    return said.waves[row, middle - half : middle + half].double().numpy()


def steady(said: Voices, around: int) -> list[tuple[int, int]]:
    """Return rows and frames in the middle of a vowel that stays for so many frames both ways."""
    same = torch.stack([said.vowels.roll(k, 1) for k in range(-around, around + 1)])
    still = (same == said.vowels).all(0) & (said.vowels >= 0)
    still[:, : 2 * around] = still[:, -2 * around :] = False
    return [(int(row), int(frame)) for row, frame in still.nonzero()[::7]]


def pitch_of(sound: np.ndarray, rate: int) -> float:
    """Return 1 / the first lag whose correlation is nearly the best, a parabola through its top."""
    sound = sound * np.hanning(len(sound))
    full = np.correlate(sound, sound, "full")[len(sound) - 1 :]
    window = np.correlate(np.hanning(len(sound)), np.hanning(len(sound)), "full")[len(sound) - 1 :]
    low, high = rate // 300, rate // 70
    ratio = full[: high + 2] / window[: high + 2]
    inner = ratio[low:high]
    top = (inner >= ratio[low - 1 : high - 1]) & (inner >= ratio[low + 1 : high + 1])
    k = low + int((top & (inner > 0.9 * inner.max())).argmax())
    left, peak, right = ratio[k - 1 : k + 2]
    return rate / (k + 0.5 * (left - right) / (left - 2 * peak + right))


def formants_of(sound: np.ndarray, rate: int, order: int) -> np.ndarray:
    """Return the resonances below half the rate of a linear prediction, narrow ones, ascending."""
    sound = np.diff(sound) * np.hamming(len(sound) - 1)
    r = np.correlate(sound, sound, "full")[len(sound) - 1 :][: order + 1]
    roots = np.roots(np.concatenate([[1], -solve_toeplitz(r[:-1], r[1:])]))
    hertz, width = np.angle(roots) * rate / 2 / np.pi, -np.log(np.abs(roots)) * rate / np.pi
    return np.sort(hertz[(hertz > 100) & (width < 500)])


def test_pitch_is_found_back_by_autocorrelation(untouched: None) -> None:
    rate = 16000
    said = voices(12, seconds=1.5, rate=rate, seed=1)
    found = [
        (pitch_of(cut(said, rate, i, t, 0.04), rate), said.pitch[i, t].item())
        for i, t in steady(said, 4)
    ]
    ratio = torch.tensor([a / b for a, b in found])
    assert len(ratio) > 100
    # 40 ms of a contour that falls and trembles by 1 %, periods that jitter by half a per cent
    assert ((ratio - 1).abs() < 0.04).float().mean() > 0.95  # the rest: octaves
    assert abs(ratio.median() - 1) < 0.005
    assert torch.allclose(said.pitch.log().mean(1).exp(), said.f0, rtol=0.003)  # the trembling
    assert ((said.f0 > 90) & (said.f0 < 250)).all()


def test_formants_are_where_they_were_put() -> None:
    rate = 8000
    said = voices(20, seconds=1.5, rate=rate, f0=(90, 110), tract=(16, 19), seed=2)
    errors: list[Tensor] = []
    for row, frame in steady(said, 5):
        found, true = formants_of(cut(said, rate, row, frame, 0.04), rate, 11), said.formants[row]
        if len(found) >= 3:
            near = torch.tensor(found).float()
            errors.append((near[:, None] / true[frame, :3] - 1).abs().amin(0))
    ratio = torch.stack(errors)
    assert len(ratio) > 100
    # a harmonic every 100 Hz: no better than half of that for the first
    assert (ratio.median(0).values < torch.tensor([0.10, 0.04, 0.04])).all()


def test_formants_scale_with_the_tract_and_settle_on_the_vowels_of_the_table() -> None:
    said = voices(20, seconds=1.0, rate=16000, seed=3)
    places = steady(said, 11)  # longer than the glide
    assert len(places) > 20 and {said.vowels[p].item() for p in places} == set(range(len(VOWELS)))
    for row, frame in places:
        table = torch.tensor(FORMANTS[said.vowels[row, frame]]) * MAN / said.tract[row]
        assert torch.allclose(said.formants[row, frame], table.float(), rtol=0.05)


def test_a_hiss_is_noise_high_up() -> None:
    rate = 16000
    said = voices(20, seconds=1.0, rate=rate, seed=4)
    spectra = said.waves.reshape(20, -1, 80).double().numpy()  # frames of 5 ms
    power = torch.from_numpy(np.abs(np.fft.rfft(spectra * np.hanning(80))) ** 2)
    high = power[..., 16:].sum(-1) / power.sum(-1)  # above 3.2 kHz
    within = (said.vowels == -1) & (said.vowels.roll(4, 1) == -1) & (said.vowels.roll(-4, 1) == -1)
    assert within.sum() > 20
    assert high[within].median() > 0.5 > 0.1 > high[said.vowels >= 0].median()


def test_shapes_level_and_seed(untouched: None) -> None:
    one, same, other = (voices(3, seconds=0.3, rate=8000, seed=seed) for seed in (1, 1, 2))
    shapes = [tuple(x.shape) for x in one]
    assert shapes == [(3, 2400), (3,), (3,), (3, 60), (3, 60, 4), (3, 60)]
    assert torch.equal(one.waves.abs().amax(1), torch.ones(3))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one.waves, other.waves)


def test_at_a_low_rate_resonances_stay_below_half_of_it() -> None:
    said = voices(10, seconds=0.2, rate=8000, tract=(14, 14), seed=5)
    assert said.formants.max() == 3600
    assert torch.isfinite(said.waves).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": 0}, "size"),
        ({"rate": 7000}, "rate"),
        ({"rate": 11025}, "rate"),
        ({"seconds": 0.01}, "seconds"),
        ({"seconds": float("nan")}, "seconds"),
        ({"f0": (250.0, 90.0)}, "f0"),
        ({"tract": (0.0, 19.0)}, "tract"),
    ],
)
def test_refused(given: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        voices(**{"size": 2, **given})
