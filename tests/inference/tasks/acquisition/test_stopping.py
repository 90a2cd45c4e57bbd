"""When to stop: the regression in closed form, rules on curves whose answer is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from inference.tasks.acquisition import (
    Curve,
    best_constant,
    fit_errors,
    score_stops,
    stop_by_posterior,
    stopping_report,
)
from inference.tasks.acquisition.stopping import first_below, left_out_errors
from ppl_models import InputError


def curve_of(rmse: Tensor, variance: Tensor, bound: Tensor | None = None) -> Curve:
    """A curve of these numbers; its draws expect errors evenly from 0 to twice those made."""
    quantiles = rmse[..., None] * torch.arange(1, 20) / 10
    bound = torch.zeros_like(rmse) if bound is None else bound
    order = torch.zeros(len(rmse), rmse.shape[1] - 1, dtype=torch.long)
    return Curve("p", ("a",), order, rmse, rmse, variance, bound, quantiles, 0 * rmse)


def simulated(size: int, seed: int) -> Curve:
    """People who differ in how fast they get sure, which their variance tells."""
    generator = torch.Generator().manual_seed(seed)
    pace = 0.05 + 0.4 * torch.rand(size, 1, generator=generator).double()
    steps = torch.arange(15)
    rmse = 10 - 8 * (1 - (-pace * steps).exp())
    variance = rmse + 0.2 * torch.randn(rmse.shape, generator=generator)
    return curve_of(rmse, variance, torch.randn(rmse.shape, generator=generator).double())


@pytest.mark.parametrize("alpha", [1e-3, 1.0, 100.0])
def test_leave_one_out_is_what_leaving_each_out_says(alpha: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 3, generator=generator).double()
    x = x - x.mean(0)
    y = x @ torch.tensor([1.0, -2.0, 0.0]).double() + torch.randn(20, generator=generator) + 5
    exact = torch.empty_like(y)
    for left in range(20):
        kept = torch.arange(20) != left
        centre, level = x[kept].mean(0), y[kept].mean()
        part = x[kept] - centre
        gram = part.T @ part + alpha * torch.eye(3)
        slopes = torch.linalg.solve(gram, part.T @ (y[kept] - level))
        exact[left] = y[left] - (level + (x[left] - centre) @ slopes)
    assert torch.allclose(left_out_errors(x, y, alpha), exact)


def test_the_regression_finds_a_line_and_takes_the_best_penalty() -> None:
    curve = simulated(50, 0)
    line = curve_of(2 * curve.variance + 1, curve.variance, curve.bound)
    rule = fit_errors(line)
    assert torch.allclose(rule(line), line.rmse, atol=1e-2)
    assert rule.alpha == min(rule.left_out, key=rule.left_out.__getitem__)
    strong = fit_errors(line, alphas=(1e9,))
    assert torch.allclose(strong(line), line.rmse.mean().expand_as(line.rmse), atol=1e-2)
    only = fit_errors(line, features=("measured",))
    assert only.features == ("measured",) and only.left_out[only.alpha] > 1


def test_a_feature_that_never_changes_does_no_harm() -> None:
    curve = simulated(30, 0)
    constant = curve_of(curve.rmse, torch.ones_like(curve.rmse))
    assert fit_errors(constant)(constant).isfinite().all()


def test_one_stops_at_the_first_step_below_or_at_last() -> None:
    errors = torch.tensor([[9.0, 4, 6, 3], [9, 8, 7, 6], [1, 2, 3, 4]])
    assert first_below(errors, 5.0).tolist() == [1, 3, 0]


def test_scores_are_counts_by_hand() -> None:
    rmse = torch.tensor([[9.0, 4, 3, 2], [9, 8, 4, 2]])
    score = score_stops(curve_of(rmse, rmse), torch.tensor([2, 1]), 5.0)
    assert score.signed.tolist() == [1, -1] and score.offset == 1 and score.mean_stop == 1.5
    assert score.error == (3 + 8) / 2
    assert score.confusion == {"TN": 2 / 8, "FN": 1 / 8, "TP": 4 / 8, "FP": 1 / 8}


def test_a_rule_that_knows_the_variance_beats_the_one_that_counts() -> None:
    report = stopping_report(simulated(200, 0), simulated(200, 1), 5.0)
    scores = report.scores
    assert scores["oracle"].offset == 0 and scores["oracle"].confusion["FP"] == 0
    assert scores["baseline"].stop.unique().numel() == 1
    assert scores["regression"].offset < 0.5 * scores["baseline"].offset
    away = {name: abs(one.error - 5) for name, one in scores.items()}
    assert away["regression"] < away["baseline"]
    assert report.correlations["variance"] > 0.95 > abs(report.correlations["bound"])
    assert report.correlations["regression"] >= report.correlations["baseline"]
    text = str(report)
    assert all(name in text for name in (*scores, "correlation", "5"))
    blind = stopping_report(simulated(200, 0), simulated(200, 1), 5.0, features=("bound",))
    assert blind.scores["regression"].offset > scores["regression"].offset
    assert stopping_report(simulated(9, 0), simulated(9, 1), 5.0, alphas=(2.0,)).alpha == 2.0


def test_the_best_constant_is_the_nearest_to_all_best_stops() -> None:
    """Their median: people are below 5 first after 1, 2, 2, 9 measurements."""
    first = torch.tensor([1, 2, 2, 9])
    falling = torch.where(torch.arange(15) >= first[:, None], 4.0, 6.0)
    curve = curve_of(falling, falling)
    assert best_constant(curve, 5.0) == 2
    never = curve_of(falling + 9, falling)
    assert best_constant(never, 5.0) == never.num_steps  # all are measured to the end
    people, others = simulated(200, 0), simulated(200, 1)
    stop = torch.full((200,), best_constant(people, 5.0))
    offsets = [score_stops(people, torch.full_like(stop, m), 5.0).offset for m in range(15)]
    assert score_stops(people, stop, 5.0).offset == min(offsets)
    report = stopping_report(people, others, 5.0)
    assert score_stops(others, stop, 5.0).offset > report.scores["regression"].offset


@pytest.mark.parametrize("probability", [0.5, 0.72, 0.95])
def test_the_posterior_rule_waits_until_it_is_as_sure_as_asked(probability: float) -> None:
    """Draws expect errors evenly from 0 to 2 e: P(error < tau) = tau / 2 e."""
    curve = simulated(20, 0)
    found = stop_by_posterior(curve, 5.0, probability)
    assert torch.equal(found, first_below(2 * probability * curve.rmse, 5.0))
    report = stopping_report(curve, curve, 5.0, probability=probability)
    assert torch.equal(report.scores["posterior"].stop, found)


def test_bad_settings_say_what_to_do() -> None:
    curve = simulated(5, 0)
    for make, argument in (
        (lambda: stop_by_posterior(curve, 5.0, 0.99), "probability"),
        (lambda: fit_errors(curve, alphas=()), "alphas"),
        (lambda: fit_errors(curve, alphas=(-1.0,)), "alphas"),
        (lambda: fit_errors(curve, features=("boundd",)), "features"),
        (lambda: stopping_report(curve, curve, 0.0), "threshold"),
        (lambda: best_constant(curve, 0.0), "threshold"),
    ):
        with pytest.raises(InputError) as caught:
            make()
        assert caught.value.argument == argument
