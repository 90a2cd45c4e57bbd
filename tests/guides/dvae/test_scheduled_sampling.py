"""Scheduled sampling: a draw of a guide is what its encoder says at the frames that were read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from guides.dvae.srnn import SRNNGuide
from guides.dvae.vrnn import VRNNGuide
from ppl_models.dvae.srnn import SRNN
from ppl_models.dvae.vrnn import VRNN
from ppl_models.sequences import shift
from tests.sequences import chain_of

D, L, T = 3, 2, 7
COINS = [False, True, True, False, True, False, True]


def srnn(causal: bool) -> tuple[Any, Any, Callable[[Tensor, Tensor, Tensor], Any]]:
    """A pair, and its encoder's moments of all frames, from s, z and the states h."""
    model = SRNN(D, L, likelihood="gaussian").double()
    guide = SRNNGuide(model, causal=causal, input_dim=4).double()

    def moments(s: Tensor, z: Tensor, h: Tensor) -> Any:
        return guide.encoder(guide.context(model.features(s)), torch.cat([shift(z), h], -1))

    return model, guide, moments


def vrnn() -> tuple[Any, Any, Callable[[Tensor, Tensor, Tensor], Any]]:
    model = VRNN(D, L, likelihood="gaussian", recurrent_dim=5).double()
    guide = VRNNGuide(model).double()

    def moments(s: Tensor, z: Tensor, h: Tensor) -> Any:
        return guide.encoder(model.reader(model.features(s)), h)

    return model, guide, moments


@pytest.mark.parametrize("make", [lambda: srnn(True), lambda: srnn(False), vrnn])
def test_residuals_of_a_draw_are_its_noise(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: frame t - 1 is the model's own where coin t says so, else the true one."""
    model, guide, moments = make()
    model.sampling_probability = 0.5
    s, e = torch.randn(2, T, D).double(), torch.randn(2, T, L).double()
    toss = torch.where(torch.tensor(COINS), 0.2, 0.8)
    chain = chain_of(guide, s)
    monkeypatch.setattr(torch, "rand", lambda *size: toss)
    z, kept = chain._draw(e)
    monkeypatch.undo()
    rollout = model.take(z, s)
    own = model.likelihood.point(rollout.raw)
    read = torch.where(torch.tensor([*COINS[1:], False])[:, None], own, s)
    h = model.read(model.teacher_forced_past(read, z))
    assert torch.allclose(rollout.h, h)
    past = model.teacher_forced_past(read, z)
    assert torch.allclose(rollout.raw, model.outputs(h, z, past))
    mean, scale = moments(s, z, h)
    assert torch.allclose((z - mean) / scale, e)
    assert all(torch.allclose(a, b) for a, b in zip(kept, (mean, scale), strict=True))


@pytest.mark.parametrize("probability", [0.0, 0.2, 1.0])
def test_coins_fall_as_often_as_the_probability_says(probability: float) -> None:
    model, seen = srnn(True)[0], list[bool]()
    model.sampling_probability = probability
    s, z = torch.randn(1, 400, D).double(), torch.zeros(1, 400, L).double()
    model.rollout = lambda *args, **how: seen.extend(how["coins"])
    model.scheduled_rollout(model.teacher_forced_past(s, z), (1,), 400, None, z=z)
    error = (probability * (1 - probability) / 400) ** 0.5
    assert len(seen) == 400 and abs(sum(seen) / 400 - probability) <= 4 * error


@pytest.mark.parametrize("make", [lambda: srnn(True), vrnn])
def test_only_training_reads_by_chance(make: Any) -> None:
    """In evaluation mode a draw is the one that teacher forcing gives, whatever the probability."""
    model, guide, _ = make()
    s, e = torch.randn(2, T, D).double(), torch.randn(2, T, L).double()
    forced = chain_of(guide, s)._draw(e)[0]
    model.sampling_probability = 1.0
    assert model.scheduled and not torch.allclose(chain_of(guide, s)._draw(e)[0], forced)
    model.eval()
    assert not model.scheduled and torch.allclose(chain_of(guide, s)._draw(e)[0], forced)
