from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from ppl_models.data.stft import STFT, mel_filters
from ppl_models.errors import InputError

REAL = Path(__file__).parents[4] / "shared" / "data" / "voicebank_demand"
LENGTHS = [1, 2, 255, 256, 257, 511, 1000, 1024, 12544, 16001]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("stft", [STFT(), STFT(8000, 32, 16)], ids=["quarter", "half"])
def test_every_sample_comes_back_at_the_edges_too(stft: STFT, length: int) -> None:
    wave = torch.randn(3, length)
    spectra = stft.analyse(wave)
    assert spectra.shape == (3, stft.frames(length), stft.bins)
    back = stft.invert(spectra, length)
    assert back.shape == wave.shape and (back - wave).abs().max() < 1e-6
    double = stft.invert(stft.analyse(wave.double()), length)
    assert (double - wave).abs().max() < 1e-14


@pytest.mark.skipif(not REAL.is_dir(), reason="VoiceBank is not there (../shared/data)")
def test_real_speech_comes_back_and_griffin_lim_resembles_it() -> None:
    pytest.importorskip("soundfile", reason="reading sound needs the extra [audio]")
    from ppl_models.data.sound import read_sound

    wave, stft = read_sound(REAL / "clean1.flac").wave, STFT()
    assert (stft.invert(stft.analyse(wave), len(wave)) - wave).abs().max() < 1e-6
    guess = stft.griffin_lim(stft.power(wave), length=len(wave))
    assert inconsistency(stft, stft.power(wave), guess) < 0.1


def test_the_papers_pieces_have_fifty_frames_of_513_bins() -> None:
    stft = STFT()
    assert (stft.window, stft.hop, stft.bins) == (1024, 256, 513)
    assert stft.frames(49 * 256) == 50 and stft.samples(50) == 49 * 256
    assert stft.power(torch.randn(2, 3, 49 * 256)).shape == (2, 3, 50, 513)


def test_a_frame_is_the_fourier_transform_of_a_windowed_piece_around_its_centre() -> None:
    stft, wave = STFT(), torch.randn(8192, dtype=torch.float64)
    window = (math.pi / 1024 * (torch.arange(1024) + 0.5).double()).sin()
    for frame in (2, 7, 30):
        piece = wave[frame * 256 - 512 : frame * 256 + 512] * window
        assert torch.allclose(stft.analyse(wave)[frame], torch.fft.rfft(piece), atol=1e-12)
    first = torch.cat([torch.zeros(512), wave[:512]]) * window  # zeros before the sound
    assert torch.allclose(stft.analyse(wave)[0], torch.fft.rfft(first), atol=1e-12)


def test_batches_give_what_each_sound_gives() -> None:
    stft, wave = STFT(), torch.randn(2, 3, 3000)
    assert torch.allclose(stft.analyse(wave)[1, 2], stft.analyse(wave[1, 2]), atol=1e-5)
    assert stft.invert(stft.analyse(wave)).shape == (2, 3, 3072)  # all of the last step


def test_gradients_go_through_both_ways_and_through_power() -> None:
    stft = STFT(1000, 16, 4)
    wave = torch.randn(2, 37, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(stft.power, wave)
    assert torch.autograd.gradcheck(lambda x: stft.invert(2 * stft.analyse(x), 37), wave)
    silent = torch.zeros(37, requires_grad=True)
    stft.power(silent).sum().backward()
    assert silent.grad is not None and silent.grad.isfinite().all()


def chirp(length: int = 16000) -> torch.Tensor:
    time = torch.arange(length) / 16000
    tones = [torch.sin(2 * math.pi * k * (150 * time + 60 * time.square())) / k for k in (1, 2, 3)]
    return torch.stack(tones).sum(0)


def inconsistency(stft: STFT, power: torch.Tensor, wave: torch.Tensor) -> float:
    """Distance of moduli over their norm: what Griffin and Lim's iterations lessen."""
    wanted, found = power.sqrt(), stft.power(wave).sqrt()
    return float((wanted - found).norm() / wanted.norm())


def test_griffin_lim_finds_a_sound_of_these_powers_and_momentum_helps() -> None:
    stft = STFT()
    power = stft.power(torch.stack([chirp(), 0.1 * torch.randn(16000)]))
    errors = []
    for iterations, momentum in ((0, 0.0), (60, 0.0), (60, 0.99)):
        wave = stft.griffin_lim(power, iterations, momentum, seed=1, length=16000)
        assert wave.shape == (2, 16000)
        errors.append(inconsistency(stft, power, wave))
    assert errors[0] > 0.4 and errors[0] > 2 * errors[1] > 2 * errors[2] and errors[2] < 0.15


def test_griffin_lim_is_a_function_of_its_seed(untouched: None) -> None:
    stft, power = STFT(), STFT().power(chirp(4000))
    one, again, other = (stft.griffin_lim(power, 3, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one, again) and not torch.allclose(one, other)
    assert not stft.griffin_lim(torch.zeros(5, 513)).any()  # silence, not NaN


@pytest.mark.parametrize(("mels", "rate", "bins"), [(32, 8000, 257), (40, 16000, 257)])
def test_every_mel_band_hears_something_and_only_its_neighbours_overlap(
    mels: int, rate: int, bins: int
) -> None:
    filters = mel_filters(mels, rate, bins)
    assert filters.shape == (mels, bins) and (filters.sum(1) > 0.5).all() and filters.max() <= 1
    assert ((filters > 0).sum(0) <= 2).all()


def test_what_is_wrong_is_named() -> None:
    stft = STFT()
    for settings in ((16000, 64, 33), (16000, 64, 0), (16000, 64.03125, 16), (16000, 64, 0.03)):
        with pytest.raises(InputError, match="STFT"):
            STFT(*settings)
    for wave in (torch.zeros(2, 0), torch.zeros(5, dtype=torch.int16), torch.tensor(1.0)):
        with pytest.raises(InputError, match="wave"):
            stft.analyse(wave)
    spectra = stft.analyse(torch.randn(1000))
    with pytest.raises(InputError, match="769 to 1024 samples for 5 frames"):
        stft.invert(spectra, 1025)
    with pytest.raises(InputError, match="complex"):
        stft.invert(spectra.abs())
    with pytest.raises(InputError, match="513"):
        stft.invert(spectra[:, 1:])
    for wrong in (-spectra.abs(), spectra.abs() * torch.nan, spectra):
        with pytest.raises(InputError, match="power"):
            stft.griffin_lim(wrong)
