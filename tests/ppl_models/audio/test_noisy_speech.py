from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pyro import poutine
from torch import Tensor

from guides.audio import NoisySpeechGuide, SourceSumGuide
from inference import check, fit
from ppl_models.audio import LVNoise, NoisySpeech, NOLVNoise, NONoise, SourceSum, variances
from ppl_models.errors import InputError
from ppl_models.likelihoods import bin_power, to_complex
from tests.sounds import SOURCES, F, Given, Nothing, T, rvae

KINDS: list[Any] = [LVNoise, NONoise, NOLVNoise]
MASK = torch.arange(T) < torch.tensor([[T], [T - 2]])


def pair(kind: Any = NOLVNoise, speech: str = "rvae") -> tuple[NoisySpeech, NoisySpeechGuide]:
    part, guide = SOURCES[speech]()
    model = NoisySpeech(part, kind(F, 2, recurrent_dim=4, hidden_dim=3)).double()
    return model, NoisySpeechGuide(model, guide).double()


def recordings() -> Tensor:
    return torch.randn(2, T, 2 * F).double()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("speech", ["rvae", "rvae, not causal", "dkf"])
def test_every_noisy_speech_passes_check(kind: Any, speech: str) -> None:
    model, guide = pair(kind, speech)
    rows = check(model, guide, recordings()).sites
    assert [row.name for row in rows] == ["speech/z", "x"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_clean_speech_is_integrated_out(kind: Any) -> None:
    """As in `SourceSum`, of the same speech and of noise of the same variances."""
    model, guide = pair(kind)
    x = recordings()
    drawn: Any = poutine.trace(guide).get_trace(x)
    z = drawn.nodes["speech/z"]["value"]
    trace: Any = poutine.trace(poutine.replay(model, trace=drawn)).get_trace(x)
    trace.compute_log_prob()
    v_n = model.noise.variance(z, bin_power(x))
    for b in range(2):
        both = {"speech": model.speech, "noise": Given(v_n[b].detach())}
        total = SourceSum(both, noise=1e-9).double()
        read = SourceSumGuide(total, {"speech": guide.speech_guide, "noise": Nothing()})
        known = {"speech/z": z[b : b + 1]}
        one: Any = poutine.trace(poutine.condition(read, known)).get_trace(x[b : b + 1])
        sites = {name: one.nodes[name]["value"] for name in ("speech/s", "noise/s")}
        two: Any = poutine.trace(poutine.condition(total, known | sites)).get_trace(x[b : b + 1])
        gap = two.log_prob_sum() - two.nodes["speech/z"]["log_prob_sum"]
        one.compute_log_prob()
        gap = gap - sum(one.nodes[name]["log_prob_sum"] for name in sites)
        assert torch.allclose(gap, trace.nodes["x"]["log_prob"][b], atol=1e-4)  # noise of 1e-9


def test_the_estimate_of_speech_is_the_wiener_filter() -> None:
    model, _ = pair()
    x, z = recordings(), {"z": torch.randn(2, T, 2).double()}
    v_s, v_n = model.variances_of(x, z)
    mean, variance = model.wiener_of(x, z)
    assert torch.equal(v_s, variances(model.speech, z))
    assert torch.allclose(to_complex(mean), v_s / (v_s + v_n) * to_complex(x))
    assert torch.allclose(variance, v_s * v_n / (v_s + v_n))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_simulated_has_the_variances_that_it_is_scored_with(kind: Any) -> None:
    """|x|^2 / v is exponential, of mean and deviation 1: 5 standard errors of 40,000 bins."""
    model, _ = pair(kind)
    with torch.no_grad():
        trace = poutine.trace(model).get_trace(size=2_000, length=T)
        x, z = (trace.nodes[name]["value"] for name in ("x", "speech/z"))
        ratio = bin_power(x) / sum(model.variances_of(x, {"z": z}))
    assert abs(ratio.mean().item() - 1) < 5 / math.sqrt(ratio.numel())
    assert (ratio.mean((0, 2)) - 1).abs().max() < 5 / math.sqrt(ratio.numel() / T)


def test_padded_frames_reach_nothing() -> None:
    model, guide = pair()
    x = torch.where(MASK[..., None], recordings(), math.nan)
    drawn: Any = poutine.trace(guide).get_trace(x, MASK)
    trace: Any = poutine.trace(poutine.replay(model, trace=drawn)).get_trace(x, MASK)
    trace.compute_log_prob()
    known = {"speech/z": drawn.nodes["speech/z"]["value"][1:, : T - 2]}
    alone: Any = poutine.trace(poutine.condition(model, known)).get_trace(x[1:, : T - 2])
    alone.compute_log_prob()
    latents = {"z": drawn.nodes["speech/z"]["value"]}
    for read in (model.variances_of, model.wiener_of):
        for one, other in zip(
            read(x, latents, mask=MASK), read(x[1:, : T - 2], {"z": known["speech/z"]}), strict=True
        ):
            assert torch.allclose(one[1, : T - 2], other[0])
    for name in ("speech/z", "x"):
        found = trace.nodes[name]["log_prob"][1]
        assert torch.allclose(found, alone.nodes[name]["log_prob"][0])
    (trace.log_prob_sum() - drawn.log_prob_sum()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_noise_is_learned_from_noisy_recordings_alone() -> None:
    """Speech held still, its noise comes to have the truth's mean power, to 20 per cent."""
    torch.manual_seed(3)
    model, guide = pair(LVNoise)
    model.speech.requires_grad_(False)
    with torch.no_grad():
        clean = model.speech(size=64, length=T)
        x = clean + 4 * torch.randn(64, T, 2 * F).double()
    model.noise.start_from(x)
    run = fit(model, guide, x, epochs=3, batch_size=8, learning_rate=1e-2, progress=False)
    found: Any = run.model
    with torch.no_grad():
        z = poutine.trace(run.guide).get_trace(x).nodes["speech/z"]["value"]
        v_n = found.noise.variance(z, bin_power(x)).mean()
    assert v_n.item() == pytest.approx(32.0, rel=0.2)


def test_speech_that_cannot_be_integrated_out_is_refused() -> None:
    for name in ("srnn", "deepar"):
        with pytest.raises(InputError, match="speech: saw"):
            NoisySpeech(SOURCES[name]()[0], LVNoise(F, 2))
    with pytest.raises(InputError, match="noise: saw bins=4"):
        NoisySpeech(rvae()[0], LVNoise(4, 2))
    model, _ = pair()
    with pytest.raises(InputError, match="speech_guide"):
        NoisySpeechGuide(model, rvae()[1])
    with pytest.raises(InputError, match="x: saw None"):
        pair()[1](None)
    with pytest.raises(InputError, match="x: saw NaN"):
        model(torch.full((1, T, 2 * F), math.nan))
