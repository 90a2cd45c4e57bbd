"""The parts of the benchmarks of acquisition that compute: exact answers, tiny models."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks import (
    acquisition,
    acquisition_rates,
    acquisition_speed,
    unheard_predictions,
    unheard_tones,
)
from benchmarks.acquisition_findings import TARGETS, WAYS, Claim, claims, optimum, report
from benchmarks.acquisition_rival import PlainPartialVAE
from inference.randomness import seeded
from inference.tasks.acquisition import Draws
from ppl_models.acquisition import NotMIWAE
from ppl_models.data import audiograms
from tests.rivals import assert_same_gradients

# --- stopping -------------------------------------------------------------------------------------


def _model(stop: dict[str, Any]) -> str:
    areas = {name: 60.0 for name in acquisition.POLICIES}
    curves = {"variance": [5.0, 4.0]}
    return json.dumps({"area": areas, "rmse": curves, "nll": curves, "stop": stop})


def test_files_from_before_there_was_a_best_constant_are_read(tmp_path: Path) -> None:
    judged = dict.fromkeys(acquisition.STOPPED, 1.0)
    old = {name: judged for name in acquisition.RULES if name != "best constant"}
    (tmp_path / "ideal.json").write_text(_model(old))
    (tmp_path / "model 0.json").write_text(_model(old))
    assert "| best constant | - | - | - |" in acquisition.table(tmp_path)
    (tmp_path / "model 1.json").write_text(_model(old | {"best constant": judged}))
    text = acquisition.table(tmp_path)
    assert "| best constant (1 models) | 1.00 | 1.00 | 1.00 |" in text
    assert "| baseline | 1.00 +- 0.00 |" in text


# --- a step against plain torch -------------------------------------------------------------------


@pytest.mark.parametrize("name", acquisition_speed.STEPS)
def test_a_rival_has_the_loss_and_the_gradient(name: str) -> None:
    assert_same_gradients(acquisition_speed.losses(name, 20))


def test_a_rival_of_another_loss_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(PlainPartialVAE):
        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return 1.001 * super().forward(x, mask)

    monkeypatch.setattr(acquisition_speed, "PlainPartialVAE", Other)
    with pytest.raises(ValueError, match="and the rival's is"):
        acquisition_speed.losses("recipe", 20)


# --- rates ----------------------------------------------------------------------------------------


def test_the_best_rate_is_that_of_a_parabola_over_its_logarithm() -> None:
    place = np.log(TARGETS)
    assert optimum((place - math.log(2.4)) ** 2) == pytest.approx(2.4)
    assert optimum(place) == TARGETS[0] and optimum(-place) == TARGETS[-1]


def test_a_claim_holds_in_all_seeds_in_some_or_in_none() -> None:
    def said(*values: float) -> str:
        return Claim("f", "t", values, "u", lambda v: v > 0).verdict

    assert said(1, 2) == "holds" and said(-1, 0) == "refuted" and said(1, -1) == "in 1 of 2"


def _figures(way: str, k: int, overfits: float, large: float) -> dict[str, Any]:
    """Figures as in the thesis; areas of the large shift are least at another rate than the others.

    ``overfits`` is the share of the static gap between training and test that dynamic ones have.
    """
    rate, share = TARGETS[k], 1.0 if way == "static" else overfits
    gap = share * 0.15 * rate**2
    test = {"rate": rate, "distortion": 30 - 2 * rate + gap, "bound": -((k - 4) ** 2)}
    if way == "dynamic":
        test["bound"] = -((k - 5) ** 2)
    stops = {
        rule: {"offset": base + (k - 3) ** 2, "stop": base + (k - 3) ** 2, "error": 5 + 0.1 * base}
        for base, rule in enumerate(("regression", "baseline", "constant"))
    }
    domains = {
        name: test | stops | {"area": factor * (60 + (k - best) ** 2), "rmse": 5.0, "nll": 50.0}
        for name, factor, best in (("home", 1, 3), ("small", 1.01, 3), ("large", 1.3, large))
    }
    return {"train": {"rate": rate, "distortion": 30 - 2 * rate}, **domains}


def _seed(overfits: float = 0.1, large: float = 1) -> Any:
    return {
        (way, target): _figures(way, k, overfits, large)
        for way in WAYS
        for k, target in enumerate(TARGETS)
    }


def test_results_as_in_the_thesis_hold_and_others_do_not() -> None:
    found = claims({0: _seed(), 1: _seed()})
    refuted = [one.text for one in found if one.verdict != "holds"]
    assert refuted == []
    changed = claims({0: _seed(overfits=0.5, large=5)})
    texts = {(one.finding, one.text) for one in changed if one.verdict == "refuted"}
    assert texts == {
        ("dynamic", "the gap of test and training distortion vanishes (below 0.25)"),
        ("large, dynamic", "area is best at a clearly lower rate (below 0.8)"),
        ("large, static", "area is best at a clearly lower rate (below 0.8)"),
    }
    text = report({0: _seed(), 1: _seed()})
    assert text.count("| holds |") == len(found) and "| 9 | 9.0 +- 0.0 |" in text
    assert report({}) == "no seed is done"


def test_a_model_is_judged_at_home_and_abroad_and_files_are_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in (("TRAIN", 128), ("VALIDATION", 16), ("MOVES", 2), ("PEOPLE", 4)):
        monkeypatch.setattr(acquisition_rates, name, value)
    people = acquisition_rates.people()
    assert people["home"].x.shape == people["large"].x.shape == (8, 15)
    noise = [some.x - some.y for some in (people["home"], people["large"])]
    assert torch.allclose(*noise, atol=1e-4)  # the same people, of archetypes that moved
    apart = [float((people[name].y - people["home"].y).norm()) for name in ("small", "large")]
    assert apart[1] == pytest.approx(10 * apart[0], rel=1e-3)
    found = acquisition_rates.judge(people, "dynamic", 2.0, 0, 1)
    for name in ("home", "small", "large"):
        one = found[name]
        assert one["bound"] == pytest.approx(-one["rate"] - one["distortion"], abs=1e-4)
        assert all(math.isfinite(one["regression"][key]) for key in ("offset", "stop", "error"))
    for way in WAYS:
        for target in TARGETS:
            (tmp_path / f"{way} {target:g} 0.json").write_text(json.dumps(found))
    seeds = acquisition_rates.read(tmp_path, [0, 1])
    assert list(seeds) == [0] and seeds[0]["static", 0.5] == found


def test_dynamic_batches_have_gaps_of_their_own_and_noise_on_thresholds_alone() -> None:
    x = torch.zeros(200, 15)
    with seeded(0):
        batch = acquisition_rates.masked_anew({"x": x, "mask": torch.zeros_like(x).bool()})
    assert 0.4 < batch["mask"].double().mean() < 0.6
    assert not batch["x"][:, 14].any() and 2.4 < batch["x"].abs().max() <= 2.5


# --- tones that were not heard --------------------------------------------------------------------


def _said(model: str, told: bool, size: int = 4000) -> unheard_predictions.Prediction:
    """Predict a tone of one person: Normal(40, 10) by every draw; the audiometer ends at 50."""
    pair = unheard_tones.untrained(model, 50.0)[0]
    columns = pair.likelihood
    columns.shift.fill_(40.0)
    columns.scale.fill_(10.0)
    if isinstance(pair, NotMIWAE):
        nn.init.constant_(pair.slope, 2.0)
    raw = torch.zeros(size, 1, columns.raw_dim)
    weights = torch.full((size, 1), 1 / size)
    draws = Draws(columns, raw, weights, torch.zeros(1))
    with torch.no_grad():
        return unheard_predictions.predict(pair, model, draws, 0, 50.0, told)


def _expected(model: str, told: bool) -> tuple[float, float, float]:
    """Mean and ends of 80 %, by the trapezoidal rule."""
    x = np.linspace(-20, 120, 140_001)
    density = np.exp(-0.5 * ((x - 40) / 10) ** 2)
    if told and model == "censored":
        density = density * (x >= 50)
    if told and model == "NotMIWAE":
        slope = -math.log1p(math.exp(2.0))
        density = density / (1 + np.exp(slope * (x - 40) / 10))
    density = density / density.sum()
    low, high = np.interp([0.1, 0.9], density.cumsum(), x)
    return float((density * x).sum()), float(low), float(high)


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("model", unheard_tones.MODELS)
def test_a_tone_is_predicted_as_integration_says(model: str, told: bool) -> None:
    """4,000 values, evenly spread in probability: within 0.1 dB of 10."""
    said = _said(model, told)
    assert (float(said.mean), float(said.low), float(said.high)) == pytest.approx(
        _expected(model, told), abs=0.1
    )
    assert float(said.silent) == pytest.approx(0.158655, abs=1e-5)  # P(N(0, 1) > 1)


def test_draws_know_which_others_were_not_heard() -> None:
    """Of two draws, the one at 60 dB explains a tone not heard better than the one at 20."""
    model = unheard_tones.untrained("NotMIWAE", 50.0)[0]
    raw = torch.zeros(2, 3, model.likelihood.raw_dim)
    raw[0, :, 1], raw[1, :, 1] = 20.0, 60.0  # tone 1, in units 1 of an untrained table
    raw[..., 15:] = -20.0  # hardly any noise
    draws = Draws(model.likelihood, raw, torch.full((2, 3), 0.5), torch.zeros(3))
    quiet = torch.zeros(3, 15, dtype=torch.bool)
    quiet[1, 1] = quiet[2, 2] = True
    with torch.no_grad():
        model.level.fill_(30.0)
        found = unheard_predictions.weighted(model, draws, quiet)
        slope = float(model.slopes()[1])
    silent = [1 / (1 + math.exp(30 + slope * x)) for x in (20, 60)]
    assert found[:, 0].tolist() == found[:, 2].tolist() == [0.5, 0.5]  # nothing, or what both say
    assert float(found[1, 1]) == pytest.approx(silent[1] / sum(silent), rel=1e-3)


def test_figures_tell_tones_that_were_heard_from_those_that_were_not() -> None:
    x = torch.full((3, 15), 30.0)
    x[0] = 70.0
    every = torch.ones_like(x, dtype=torch.bool)
    tones = unheard_tones._with_limit(x, every, 60.0)
    assert tones.unheard[0, :14].all() and not tones.unheard[:, 14].any()
    assert not tones.unheard[1:].any()
    guess = torch.tensor([50.0, 33.0, 27.0])
    said = unheard_predictions.Prediction(
        guess, guess - 25, guess + 25, torch.tensor([0.4, 0.2, 0.0])
    )
    found = unheard_tones._errors(said, tones, 0, told=False)
    assert found["before error"].tolist() == [-20] and found["heard error"].tolist() == [3, -3]
    assert found["before coverage"].tolist() == [True]
    hidden = unheard_tones.Tones(x, every, tones.unheard, 80.0, False)
    without = unheard_tones._errors(said, hidden, 0, told=True)
    assert without["told coverage"].tolist() == [False]  # 75 dB does not reach 80
    assert set(without) == {"told mean", "told coverage"}


@pytest.mark.parametrize("model", unheard_tones.MODELS)
def test_a_model_of_tones_is_trained_and_judged(model: str, tmp_path: Path) -> None:
    x = audiograms(120, seed=0).x
    tones = unheard_tones._with_limit(x, torch.ones_like(x, dtype=torch.bool), 50.0)
    hidden = torch.where(tones.unheard, torch.nan, x)
    blind = unheard_tones.Tones(hidden, tones.exists, tones.unheard, 50.0, False)
    found = unheard_tones.judge(tones, model, 0, 1)
    assert found["unheard"] > 10 and all(math.isfinite(value) for value in found.values())
    if model == "NotMIWAE":
        assert found["slope"] < 0
    if model == "ignored":  # thresholds of tones that were not heard reach nothing
        same = unheard_tones.judge(blind, model, 0, 1)
        assert same["before mean"] == found["before mean"]
        assert same["silent, of all"] == found["silent, of all"]
    (tmp_path / f"simulated {model} 0.json").write_text(json.dumps(found))
    assert f"| {model} (1 folds) | {found['unheard']:.1f} |" in unheard_tones.report(tmp_path)
