from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch

from inference.metrics.speech import (
    estoi,
    mean_scores,
    pesq_nb,
    pesq_raw,
    pesq_wb,
    rmse,
    si_sdr,
    speech_scores,
)
from ppl_models.errors import InputError

REAL = Path(__file__).parents[4] / "shared" / "data" / "voicebank_demand"


def speech_like(samples: int = 16000) -> torch.Tensor:
    """Harmonics of a gliding pitch under three formants, in syllables: PESQ hears speech in it."""
    time = torch.arange(samples) / 16000
    pitch = 120 + 30 * torch.sin(2 * math.pi * 1.5 * time)
    phase = 2 * math.pi * pitch.cumsum(0) / 16000
    voice = torch.zeros(samples)
    for k in range(1, 30):
        loud = sum(math.exp(-(((120 * k - f) / 200) ** 2)) for f in (500, 1500, 2500))
        voice += (loud + 0.05) * torch.sin(k * phase)
    return 0.2 * voice * torch.sin(math.pi * 4 * time).abs()


def test_si_sdr_of_a_scaled_copy_and_orthogonal_noise_is_their_ratio() -> None:
    generator = torch.Generator().manual_seed(0)
    reference, noise = torch.randn(2, 3, 500, generator=generator, dtype=torch.float64)
    noise -= (noise * reference).sum(-1, True) / reference.square().sum(-1, True) * reference
    noise *= reference.norm(dim=-1, keepdim=True) / noise.norm(dim=-1, keepdim=True)
    for db in (-10.0, 0.0, 20.0):
        estimate = -3 * (reference + 10 ** (-db / 20) * noise)
        assert torch.allclose(si_sdr(reference, estimate), torch.tensor(db).double(), atol=1e-9)
    assert si_sdr(reference, reference).min() > 300  # dB: nothing but rounding, or none


def test_si_sdr_is_that_of_torchmetrics() -> None:
    functional = pytest.importorskip("torchmetrics.functional.audio")
    reference, estimate = torch.randn(2, 4, 800).double()
    theirs = functional.scale_invariant_signal_distortion_ratio(estimate, reference)
    assert torch.allclose(si_sdr(reference, estimate), theirs, atol=1e-6)


def test_rmse_is_the_least_over_all_scales() -> None:
    reference, noise = torch.randn(2, 5, 400).double()
    estimate = 0.1 * (reference + 0.5 * noise)
    found = rmse(reference, estimate)
    grid = torch.linspace(0, 20, 2001, dtype=torch.float64)[:, None, None]
    brute = (grid * estimate - reference).square().mean(-1).sqrt().amin(0)
    assert torch.allclose(found, brute, atol=1e-4) and (found <= brute).all()
    assert torch.allclose(rmse(reference, -7 * estimate), found)
    assert torch.allclose(rmse(2 * reference, estimate), 2 * found)


def test_perfect_speech_has_the_known_perfect_scores(untouched: None) -> None:
    pytest.importorskip("pesq", reason="needs the extra [audio]")
    pytest.importorskip("pystoi", reason="needs the extra [audio]")
    clean = speech_like()
    scores = speech_scores(clean, 0.3 * clean)
    assert scores["rmse"] < 1e-7 and scores["si_sdr"] > 100  # float32 roundings of 0.3 x
    assert math.isclose(scores["pesq_wb"], 4.644, abs_tol=1e-3)  # 0.999 + 4 / (1 + e^-2.3237)
    assert math.isclose(scores["pesq_nb"], 4.549, abs_tol=1e-3)  # of 4.5, by P.862.1
    assert math.isclose(scores["pesq_raw"], 4.5, abs_tol=1e-3)
    assert math.isclose(scores["estoi"], 1, abs_tol=1e-9)


def test_more_noise_is_worse_by_every_measure_and_scale_does_not_count() -> None:
    pytest.importorskip("pesq", reason="needs the extra [audio]")
    pytest.importorskip("pystoi", reason="needs the extra [audio]")
    clean, noise = speech_like(), torch.randn(16000)
    noise *= clean.norm() / noise.norm()
    steps = [speech_scores(clean, clean + 10 ** (-db / 20) * noise) for db in (30, 15, 0)]
    for a, b in zip(steps, steps[1:], strict=False):
        assert a["rmse"] < b["rmse"]
        assert all(a[name] > b[name] for name in ("si_sdr", "pesq_nb", "pesq_raw", "estoi"))
    assert steps[0]["pesq_wb"] > steps[2]["pesq_wb"]
    softer = speech_scores(clean, 0.05 * (clean + 10 ** (-15 / 20) * noise))
    assert all(math.isclose(softer[name], steps[1][name], rel_tol=1e-3) for name in softer)


def test_raw_pesq_undoes_the_recommendations_logistic() -> None:
    raw = torch.linspace(-0.5, 4.5, 11, dtype=torch.float64)
    assert torch.allclose(pesq_raw(0.999 + 4 / (1 + (4.6607 - 1.4945 * raw).exp())), raw)


def test_what_has_no_score_is_nan_without_a_warning() -> None:
    pytest.importorskip("pesq", reason="needs the extra [audio]")
    pytest.importorskip("pystoi", reason="needs the extra [audio]")
    clean, silence = speech_like(), torch.zeros(16000)
    for pair in ((clean, silence), (silence, clean), (silence, silence)):
        assert all(math.isnan(score) for score in speech_scores(*pair).values())
    batch = torch.stack([clean, silence])
    for metric in (rmse, si_sdr, pesq_wb, pesq_nb, estoi):
        found = metric(batch, torch.stack([clean, clean]))
        assert found.shape == (2,) and found.isnan().tolist() == [False, True]
    for length in (1, 300, 3999):
        short = speech_scores(clean[2000:][:length], clean[2000:][:length])
        assert all(math.isnan(short[name]) for name in ("pesq_wb", "pesq_nb", "pesq_raw", "estoi"))
    click = torch.zeros(16000)
    click[8000:8100] = 1.0  # one frame that is not silent
    assert estoi(click, clean).isnan() and pesq_nb(click, clean).isnan()
    eight = speech_scores(clean[::2], clean[::2], rate=8000)
    assert math.isnan(eight["pesq_wb"]) and eight["pesq_nb"] > 4.5 and eight["estoi"] > 0.99


def test_means_leave_out_what_is_not_defined() -> None:
    scores = [{"a": 1.0, "b": math.nan}, {"a": 3.0, "b": math.nan}, {"a": math.nan, "b": 5.0}]
    means = mean_scores(scores)
    assert means["a"] == (2.0, 1.0, 2)  # sqrt(2) / sqrt(2)
    assert means["b"][::2] == (5.0, 1) and math.isnan(means["b"].error)
    with pytest.raises(InputError, match="scores"):
        mean_scores([])


def test_what_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    clean = speech_like(8000)
    for metric in (rmse, si_sdr):
        with pytest.raises(InputError, match=r"shapes \(8000,\) and \(7999,\)"):
            metric(clean, clean[1:])
        with pytest.raises(InputError, match="estimate: saw 1 samples that are not finite"):
            metric(clean, clean.where(torch.arange(8000) > 0, torch.nan))
        with pytest.raises(InputError, match="estimate"):
            metric(clean[:0], clean[:0])
    with pytest.raises(InputError, match="one sound"):
        speech_scores(clean[None], clean[None])


def test_pesq_names_the_rates_it_has_and_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pesq", reason="needs the extra [audio]")
    clean = speech_like(8000)
    with pytest.raises(InputError, match="rate: saw 8000 Hz"):
        pesq_wb(clean, clean, 8000)
    monkeypatch.setitem(sys.modules, "pesq", None)
    with pytest.raises(InputError, match=r"ppl-models\[audio\]"):
        pesq_nb(clean, clean)


@pytest.mark.skipif(not REAL.is_dir(), reason="VoiceBank is not there (../shared/data)")
def test_real_noisy_speech_scores_between_bad_and_perfect() -> None:
    pytest.importorskip("pesq", reason="needs the extra [audio]")
    pytest.importorskip("pystoi", reason="needs the extra [audio]")
    pytest.importorskip("soundfile", reason="needs the extra [audio]")
    from ppl_models.data.sound import read_sound

    clean, noisy = (read_sound(REAL / f"{kind}2.flac").wave for kind in ("clean", "noisy"))
    scores = speech_scores(clean, noisy)
    assert 1.04 < scores["pesq_wb"] < scores["pesq_raw"] < 4.5
    assert 0.2 < scores["estoi"] < 0.99 and -5 < scores["si_sdr"] < 25


@pytest.mark.parametrize("level", [1e-200, 1e-30, 1e200])
def test_scores_do_not_hang_on_the_level(level: float) -> None:
    """Squares of these levels are 0 or infinite in double precision, or of 1e-60."""
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, 500, generator=generator, dtype=torch.float64)
    y = x + 0.1 * noise
    assert si_sdr(level * x, level * y) == pytest.approx(float(si_sdr(x, y)), abs=1e-9)
    assert si_sdr(x, level * y) == pytest.approx(float(si_sdr(x, y)), abs=1e-9)
    assert rmse(level * x, y) / level == pytest.approx(float(rmse(x, y)), rel=1e-9)
