"""Penalties and aggressive updates in `fit`: trained, resumed, reported, all at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from inference import (
    MMD,
    Aggressive,
    FactorCritic,
    FreeBits,
    Objective,
    PairError,
    Run,
    TotalCorrelation,
    WassersteinCritic,
    fit,
)
from inference.randomness import seeded
from inference.schedules import cyclical
from tests import pairs


def data(size: int = 96, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, 2, generator=generator) @ torch.randn(2, 4, generator=generator)


def train(objective: Objective, **settings: Any) -> Run:
    with seeded(4):
        pair = pairs.Amortised(), pairs.AmortisedGuide()
    options: dict[str, Any] = {"epochs": 4, "batch_size": 32, "learning_rate": 0.01}
    options |= {"validation": data(64, 7), "progress": False, **settings}
    return fit(*pair, data(), objective=objective, **options)


def everything() -> dict[str, Any]:
    return {
        "objective": Objective(
            kl_weight=cyclical(6),
            free_bits=FreeBits(0.05, per="element"),
            penalties=(TotalCorrelation(2.0), MMD(1.0), FactorCritic(1.0, (16,))),
        ),
        "updates": Aggressive(most=4, check=2, look=1),
    }


def same(*runs: Run) -> bool:
    states = [[*r.model.state_dict().values(), *r.guide.state_dict().values()] for r in runs]
    equal = all(torch.equal(a, b) for a, b in zip(*states, strict=True))
    return equal and repr(runs[0].history) == repr(runs[1].history)


def test_all_at_once_trains_and_reports_the_plain_bound(untouched: None) -> None:
    """What is reported is what an untrained objective reports of the same weights."""
    run = train(**everything(), epochs=8)
    last = run.history[-1]
    assert run.history[0]["validation_bound"] < last["validation_bound"]
    assert all(torch.isfinite(torch.tensor(row["loss"])) for row in run.history)
    assert {"TotalCorrelation", "MMD", "FactorCritic", "rate", "updates"} <= set(last)
    assert last["loss"] > -last["bound"]  # the penalties are in the one and not in the other
    best = run.history[run.best_epoch - 1]["validation_bound"]
    options = {"epochs": 1, "learning_rate": 1e-30, "validation": data(64, 7), "progress": False}
    plain = fit(run.model, run.guide, data(), objective=Objective("meanfield"), **options)
    assert plain.history[0]["validation_bound"] == pytest.approx(best, abs=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"objective": Objective(penalties=(FactorCritic(1.0, (8,)),))},
        {"objective": Objective(kl_weight=0, penalties=(WassersteinCritic(1.0, (8,)),))},
        everything(),
    ],
    ids=["critic", "transport", "everything"],
)
def test_a_resumed_run_is_an_unbroken_one(settings: dict[str, Any], tmp_path: Any) -> None:
    whole = train(**settings)
    train(**settings, epochs=2, directory=tmp_path)
    halves = train(**settings, directory=tmp_path, resume=True)
    assert same(whole, halves)
    assert same(whole, train(**settings))  # and the settings have kept nothing of the runs


def test_in_the_guides_turn_the_model_stands_still() -> None:
    seen: list[tuple[str, bool, bool]] = []
    model, guide, updates = pairs.Amortised(), pairs.AmortisedGuide(), Aggressive(most=3, check=1)
    weights = [model.decoder.weight, guide.encoder.weight]
    before = [w.detach().clone() for w in weights]

    def look(step: int, loss: float) -> None:
        moved = [not torch.equal(a, b) for a, b in zip(before, weights, strict=True)]
        seen.append((updates.moved, *moved))
        before[:] = [w.detach().clone() for w in weights]

    options: dict[str, Any] = {"epochs": 4, "batch_size": 16, "progress": False}
    fit(model, guide, data(), updates=updates, on_step=look, **options)
    assert {"guide", "model"} <= {turn for turn, *_ in seen}
    for turn, model_moved, guide_moved in seen:
        assert (model_moved, guide_moved) == (turn != "guide", turn != "model")


def test_the_history_records_the_updates() -> None:
    updates = Aggressive(most=4, check=2, look=2, patience=2)
    run = train(Objective(), updates=updates, epochs=24, learning_rate=0.03)
    modes = [row["updates"] for row in run.history]
    assert modes[0] == "aggressive" and modes[-1] == updates.mode
    looks = [row["information"] for row in run.history if "information" in row]
    assert looks == [row["information"] for row in updates.history]
    assert looks[0] < max(looks)  # it climbed


def test_a_pair_without_the_site_is_refused_before_it_trains() -> None:
    with pytest.raises(PairError, match="'code'"):
        train(Objective(penalties=(MMD(1.0, site="code"),)))
