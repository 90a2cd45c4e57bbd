from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pyro import poutine
from torch import Tensor

from ppl_models.audio import NMF, TemporalNMF
from ppl_models.errors import InputError
from ppl_models.likelihoods import QUIET, bin_power
from tests.sounds import F, T

KINDS: list[Any] = [
    lambda shape: NMF(F, 3, shape=shape),
    lambda shape: TemporalNMF(F, 3, shape=shape, continuity=0.0),
    lambda shape: TemporalNMF(F, 3, shape=shape, continuity=0.3),
    lambda shape: TemporalNMF(F, 3, shape=shape, continuity=30.0),
]
IDS = ["NMF", "continuity 0", "continuity 0.3", "continuity 30"]


def hard(seed: int, length: int = 9) -> Tensor:
    """Powers over six orders of magnitude, with silence among them."""
    draw = torch.Generator().manual_seed(seed)
    power = (3 * torch.randn(2, length, F, generator=draw, dtype=torch.float64)).exp()
    return torch.where(torch.rand(2, length, F, generator=draw) < 0.1, 0.0, power)


def objective(model: NMF, *given: Any) -> float:
    return model.log_joint(*given).sum().item()


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
@pytest.mark.parametrize("shape", [0.5, 1.0, 2.5])
def test_no_update_lowers_the_objective(kind: Any, shape: float) -> None:
    """Four starts, six rounds: 1e-9 of its size is rounding in double precision."""
    mask = torch.arange(9) < torch.tensor([[9], [6]])
    gains = []
    for seed in range(4):
        torch.manual_seed(seed)
        model = kind(shape).double()
        power = torch.where(mask[..., None], hard(seed), torch.full_like(hard(seed), math.nan))
        rest = hard(seed + 100) if seed % 2 else 0.0
        h = torch.rand(2, 9, 3).double() * 10
        last = first = objective(model, power, h, mask, rest)
        for _ in range(6):
            for step in ("h", "weights", "rate"):
                if step == "h":
                    each = model.log_joint(power, h, mask, rest)
                    h = model.update_activations(power, h, mask, rest)
                    after = model.log_joint(power, h, mask, rest)
                    assert (after >= each - 1e-9 * each.abs()).all()  # sequence by sequence
                elif step == "weights":
                    model.update_weights(power, h, mask, rest)
                else:
                    model.update_rate(h, mask)
                now = objective(model, power, h, mask, rest)
                assert now >= last - 1e-9 * abs(last), (seed, step)
                last = now
        gains.append(last - first)
        assert torch.allclose(model.weights.sum(-1), torch.ones(3).double())
    assert min(gains) > 1


def test_with_exponential_activations_the_update_is_the_multiplicative_one() -> None:
    """h sqrt(A / B) where the rate is negligible: Fevotte and Idier 2011, equation for beta = 0."""
    model = NMF(F, 3).double()
    model.log_rate.data.fill_(-60.0)
    power, h = hard(0), torch.rand(2, 9, 3).double() + 0.1
    v = h @ model.weights + QUIET
    up, down = (power / v**2) @ model.weights.T, (1 / v) @ model.weights.T
    assert torch.allclose(model.update_activations(power, h), h * (up / down).sqrt(), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS[:3:2], ids=IDS[:3:2])
def test_updates_end_where_the_gradient_vanishes(kind: Any) -> None:
    """Of log h, relative to the F bins that each activation has."""
    model = kind(2.0).double()
    power = hard(1, 5)[:1].clamp(0.1, 10)
    h = model.activations(power, iterations=300).requires_grad_()
    (slope,) = torch.autograd.grad(model.log_joint(power, h).sum(), h)
    assert (slope * h).abs().max() < 0.02


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_the_joint_density_is_the_model_s(kind: Any) -> None:
    model = kind(1.7).double()
    s, h = torch.randn(2, 9, 2 * F).double(), torch.rand(2, 9, 3).double()
    mask = torch.arange(9) < torch.tensor([[9], [6]])
    s = torch.where(mask[..., None], s, math.nan)
    trace = poutine.trace(poutine.condition(model, {"h": h})).get_trace(s, mask)
    assert trace.log_prob_sum().item() == pytest.approx(
        objective(model, bin_power(s), h, mask), abs=1e-8
    )


def test_padded_frames_reach_nothing() -> None:
    model = TemporalNMF(F, 3).double()
    power, mask = hard(2), torch.arange(9) < torch.tensor([[9], [6]])
    padded = torch.where(mask[..., None], power, math.nan)
    h = model.activations(padded, mask, iterations=5)
    alone = model.activations(power[1:, :6], iterations=5)
    assert torch.allclose(h[1:, :6], alone) and h.isfinite().all()
    model.update_weights(padded, h, mask)
    assert model.weights.isfinite().all()


def test_what_is_simulated_has_the_mean_of_the_model() -> None:
    """E|s|^2 = sum_k W_k shape / rate, and twice its square on top: 5 standard errors."""
    model = NMF(F, 3, shape=2.0).double()
    model.log_rate.data.fill_(-1.0)
    with torch.no_grad():
        power = bin_power(model(size=400, length=T)).reshape(-1, F)
        expected = 2.0 / model.rate * model.weights.sum(0) + QUIET
    error = power.std(0) / math.sqrt(len(power))
    assert ((power.mean(0) - expected).abs() < 5 * error).all()


@pytest.mark.parametrize("power", [torch.ones(4, F + 1), -torch.ones(4, F), torch.ones(0, F)])
def test_what_is_no_power_is_named(power: Tensor) -> None:
    with pytest.raises(InputError, match="power: saw"):
        NMF(F, 2).start_from(power)


def test_wrong_sizes_are_named() -> None:
    wrong: list[Any] = [{"bins": 0}, {"num_components": 0}, {"shape": -1.0}]
    for settings in wrong:
        with pytest.raises(InputError, match=next(iter(settings))):
            NMF(**settings)
    with pytest.raises(InputError, match="continuity"):
        TemporalNMF(continuity=-1.0)


def test_what_is_there_beside_a_source_is_not_explained_by_it() -> None:
    """Two sources of powers as expected: given one, updates find the other, to one per cent."""
    one, two = NMF(20, 2).double(), NMF(20, 2).double()
    for model in (one, two):
        model.log_rate.data.fill_(-30.0)
    h = torch.rand(T, 2).double() + 0.5
    rest = two.variances({"h": torch.rand(T, 2).double() + 0.5}).detach()
    power = (one.variances({"h": h}) + rest).detach()
    found = one.activations(power, rest=rest, iterations=3000)
    assert torch.allclose(found, h, rtol=0.01)


def test_a_past_changes_nothing() -> None:
    model, s, h = NMF(F, 2), torch.randn(3, 2 * F), torch.rand(3, 2)
    path = poutine.condition(model.path, {"h": h})
    traces = [poutine.trace(path).get_trace(3, s, past=past) for past in (None, 0 * s)]
    assert traces[0].log_prob_sum() == traces[1].log_prob_sum()
