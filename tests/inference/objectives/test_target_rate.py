from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from guides.vae import VAEGuide
from inference import Objective, TargetRate, fit
from inference.diagnostics import rates
from inference.errors import PairError
from inference.randomness import seeded
from ppl_models.vae import VAE
from tests import pairs
from tests.inference.objectives.test_pathwise_elbo import case


def test_the_weight_moves_only_outside_the_band() -> None:
    target = TargetRate(2.0, step=0.1, tolerance=0.05, start=0.5)
    for rate, weight in [(2.09, 0.5), (2.2, 0.55), (1.92, 0.55), (1.8, 0.5), (math.nan, 0.5)]:
        target.update(rate)
        assert math.isclose(target(7), weight)
    target.reset()
    assert target.weight == 0.5


def test_the_weight_keeps_within_its_limits() -> None:
    target = TargetRate(1.0, step=1.0, least=0.25, most=3.0)
    for _ in range(5):
        target.update(9.0)
    assert target.weight == 3.0
    for _ in range(5):
        target.update(0.0)
    assert target.weight == 0.25


def test_its_state_is_copied_and_its_settings_are_shown() -> None:
    target, other = TargetRate(2.0), TargetRate(2.0)
    target.update(9.0)
    assert "nats=2" in repr(target) and repr(target) == repr(other)
    other.load_state_dict(target.state_dict())
    assert other.weight == target.weight == 1.01


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"nats": 0}, "nats is 0"),
        ({"nats": math.nan}, "nats is nan"),
        ({"step": -0.1}, "step is -0.1"),
        ({"tolerance": -1}, "tolerance is -1"),
        ({"start": 10, "most": 5}, "start is 10"),
    ],
)
def test_settings_are_checked(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TargetRate(**{"nats": 1.0, **wrong})


@pytest.mark.parametrize("settings", [{}, {"kind": "trace"}, {"kind": "iwae", "num_particles": 4}])
def test_it_is_given_the_unweighted_rate(settings: dict[str, Any]) -> None:
    model, guide, x = case("vae")
    target = TargetRate(1e-3, start=0.2)
    objective = Objective(kl_weight=target, **settings)
    with seeded(3):
        measured = objective.measure(model, guide, (x,))
    with seeded(3):
        plain = Objective(kl_weight=0.2, **settings).loss(model, guide, (x,))
    if not settings:
        with seeded(3):
            plain = Objective("meanfield", kl_weight=0.2).loss(model, guide, (x,))
    torch.testing.assert_close(measured.loss, plain)
    if "num_particles" not in settings:
        zero = Objective(kl_weight=TargetRate(1.0, start=1e-9, least=1e-9), **settings)
        with seeded(3):
            data = zero.measure(model, guide, (x,))
        torch.testing.assert_close(measured.loss - data.loss, 0.2 * measured.figures["rate"])
    measured.loss.backward()
    assert target.weight == 0.2
    objective.after_step(measured)
    assert math.isclose(target.weight, 0.2 * 1.01)


def test_a_pair_without_a_rate_is_refused() -> None:
    nothing, x = pairs.NoLatents(), torch.randn(3)
    with pytest.raises(PairError, match="no latent site"):
        Objective(kl_weight=TargetRate(1.0)).loss(pairs.TwoComponents(), nothing, (x,))


@pytest.mark.parametrize(
    "nats", [2.0, *(pytest.param(nats, marks=pytest.mark.slow) for nats in (1.0, 4.0))]
)
def test_the_rate_settles_at_the_target(nats: float) -> None:
    with seeded(0):
        x = torch.randn(512, 3) @ torch.randn(3, 8) + 0.3 * torch.randn(512, 8)
        model = VAE(8, 3, hidden_dims=(32,), scale=0.3)
        pair = model, VAEGuide(model)
    run = fit(
        *pair,
        x,
        epochs=40,
        batch_size=64,
        learning_rate=1e-2,
        objective=Objective(kl_weight=TargetRate(nats, step=0.02)),
        progress=False,
    )
    found = rates(run.model, run.guide, x, num_samples=20)["z"].nats
    assert abs(found / nats - 1) < 0.1, (found, run.history[-1])  # the house's own tolerance
    assert run.history[-1]["kl_weight"] > 1  # the plain bound's rate is higher
    assert not run.notes
