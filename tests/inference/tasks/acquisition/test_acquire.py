"""The loop: what is measured in which order, and how predictions are judged after each."""

from __future__ import annotations

import csv
import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from inference.randomness import derive
from inference.tasks.acquisition import (
    Curve,
    FixedOrder,
    LookAhead,
    RandomOrder,
    TargetInformation,
    Variance,
    acquire,
    area_table,
    compare,
    greedy_order,
    write_curves,
)
from inference.tasks.acquisition.acquire import best
from inference.tasks.acquisition.errors import weighted_quantiles
from ppl_models import InputError
from tests.inference.tasks.acquisition.toys import linear, people, random_states, rows_of

MODULE = importlib.import_module("inference.tasks.acquisition.acquire")  # the name is a function's


def setup(size: int = 30) -> tuple[Any, Tensor]:
    predictor = linear()
    return predictor, people(predictor, size)


def by_hand(predictor: Any, x: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """RMSE with the exact predictive mean."""
    mean = predictor.model.decode(predictor.model.posterior(x, known).mean)
    guess = torch.where(known, x, mean)
    return ((guess - truth) / predictor.table.spread).square().mean(1).sqrt()


@pytest.mark.parametrize("noise_free", [False, True])
def test_curves_are_the_thesis_equations(noise_free: bool) -> None:
    predictor, x = setup()
    truth = x - 0.3 if noise_free else x
    curve = acquire(
        predictor, x, FixedOrder([2, 0, 4]), truth=truth if noise_free else None, num_samples=1000
    )
    assert curve.order[0].tolist() == [2, 0, 4, 1, 3, 5]
    known = torch.zeros_like(x, dtype=torch.bool)
    for step in range(7):
        exact = by_hand(predictor, x, truth, known)
        assert torch.allclose(curve.rmse[:, step], exact, atol=0.01)  # of 1,000 draws
        assert torch.allclose(curve.bound[:, step], predictor.model.evidence(x, known))
        draws = predictor.draws(x, known, 1000, derive(0, "draws", step))
        nll = -draws.log_prob(x).sum(-1).mean(0)
        assert torch.allclose(curve.nll[:, step], nll)
        if step < 6:
            known[:, int(curve.order[0, step])] = True
    assert torch.allclose(curve.area(), curve.rmse[:, 1:].sum(1))
    assert torch.allclose(curve.area("nll", from_none=True), curve.nll.sum(1))
    end = 0.3 / predictor.table.spread
    last = end.square().mean().sqrt() if noise_free else torch.zeros(())
    assert torch.allclose(curve.rmse[:, -1], last.double().expand(30), atol=1e-9)
    assert (curve.variance[:, -1] == 0).all() and (curve.variance.diff() <= 1e-9).all()


def test_the_error_that_draws_expect_is_the_one_that_is_made() -> None:
    """Of 400 people of the model itself: their RMSE is below its own quantiles as often as said."""
    predictor, x = setup(400)
    curve = acquire(predictor, x, RandomOrder(), steps=3, num_samples=400)
    for place, level in ((3, 0.2), (9, 0.5), (15, 0.8)):
        share = (curve.rmse < curve.quantiles[..., place]).double().mean(0)
        assert ((share - level).abs() < 0.08).all()  # three standard errors of 400 people
    noise = predictor.model.log_scale.exp().detach()
    z = predictor.model.posterior(x).sample()
    truth = predictor.model.decode(z).detach()
    fresh = truth + noise * torch.randn(x.shape, generator=torch.Generator().manual_seed(5))
    blind = acquire(predictor, fresh, FixedOrder([0]), truth=truth, steps=1, num_samples=400)
    share = (blind.rmse[:, 1] < blind.quantiles[:, 1, 9]).double().mean()
    assert abs(share - 0.5) < 0.1


def test_largest_variance_takes_the_same_order_of_everybody_where_all_is_linear() -> None:
    predictor, x = setup()
    order = acquire(predictor, x, Variance(), num_samples=500).order
    assert (order == order[0]).all() and sorted(order[0].tolist()) == list(range(6))


def test_gaps_targets_costs_and_steps_are_kept_to() -> None:
    predictor, x = setup()
    exists = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.7
    exists[0] = False
    curve = acquire(
        predictor,
        x.masked_fill(~exists, torch.nan),
        LookAhead(["x6"]),
        mask=exists,
        measured=["x1"],
        acquirable=["x1", "x2", "x3", "x4"],
        costs=torch.tensor([1.0, 2.0, 1.0, 1.0, 1.0, 1.0]),
    )
    for order, there, paid in zip(curve.order, exists, curve.cost[:, -1], strict=True):
        measured = [int(d) for d in order if d >= 0]
        assert sorted(measured) == [d for d in (1, 2, 3) if there[d]]
        assert paid == sum(2.0 if d == 1 else 1.0 for d in measured)
    for values in (curve.rmse, curve.nll, curve.variance, curve.bound, curve.quantiles):
        assert values.isfinite().all()
    assert (curve.rmse[0] == 0).all()  # nothing of hers is known or judged
    told = acquire(predictor, x, TargetInformation(["x6"]), steps=9)
    assert 5 not in told.order and told.num_steps == 5
    start = torch.zeros_like(exists)
    start[:, :4] = True
    assert acquire(predictor, x, Variance(), measured=start).num_steps == 2
    assert acquire(predictor, x, Variance(), measured=start | True).num_steps == 0
    first = acquire(predictor, x, Variance(), steps=1)
    dear = acquire(
        predictor, x, Variance(), steps=1, costs=torch.eye(6)[first.order[0, 0]] * 99 + 1
    )
    assert (dear.order != first.order).all()


def test_worth_a_cost_is_what_counts_and_a_loss_is_the_dearer_the_worse() -> None:
    worth = torch.tensor([[4.0, 3.0, 1.0], [-1.0, -1.0, -2.0], [torch.nan] * 3, [1.0, 2.0, 3.0]])
    allowed = torch.ones(4, 3, dtype=torch.bool)
    allowed[2, 0], allowed[3] = False, False
    costs = torch.tensor([4.0, 1.0, 1.0])
    assert best(worth, costs, allowed).tolist() == [1, 1, 1, -1]


def test_people_see_the_same_in_whatever_block(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, x = setup(7)
    whole = compare(predictor, x, {"lot": RandomOrder(), "ahead": LookAhead()}, num_samples=30)
    assert not torch.equal(whole["lot"].order[0], whole["lot"].order[1])
    monkeypatch.setattr(MODULE, "PEOPLE", 1)
    for name, reward in (("lot", RandomOrder()), ("ahead", LookAhead())):
        parts = acquire(predictor, x, reward, num_samples=30)
        assert torch.equal(parts.order, whole[name].order)
        assert torch.allclose(parts.rmse, whole[name].rmse)
    other = acquire(predictor, x, RandomOrder(), num_samples=30, seed=1)
    assert not torch.equal(other.order, whole["lot"].order)
    assert whole["lot"].policy == "lot" and whole["ahead"].units == "standard"


def test_policies_are_compared_with_all_that_acquire_takes() -> None:
    predictor, x = setup(9)
    exists = torch.ones_like(x, dtype=torch.bool)
    exists[:, 1] = False
    how: dict[str, Any] = {
        "mask": exists,
        "truth": x + 1,
        "measured": [0],
        "acquirable": [1, 2, 3],
        "costs": torch.full((6,), 2.0),
        "steps": 1,
        "num_samples": 20,
        "units": "data",
        "seed": 3,
    }
    (one,) = compare(predictor, x, {"a": Variance()}, **how).values()
    alone = acquire(predictor, x, Variance(), **how)
    assert torch.equal(one.rmse, alone.rmse) and one.units == "data" and one.num_steps == 1
    assert (one.cost[:, 1] == 2).all() and set(one.order.flatten().tolist()) <= {2, 3}


def test_errors_of_classes_are_of_their_one_hot_vectors() -> None:
    predictor = random_states()
    rows, p = rows_of(predictor)
    curve = acquire(predictor, rows, FixedOrder([1]), steps=1)
    state = predictor.draws(rows, torch.zeros_like(rows, dtype=torch.bool))
    apart = (predictor.table.encode(rows) - state.expected) / predictor.table.spread
    assert torch.allclose(curve.rmse[:, 0], (apart.square().sum(1) / 4).sqrt())
    # guessing by the frequencies: a squared error of 1 a column, on average over all rows
    assert (p * curve.rmse[:, 0].square()).sum().item() == pytest.approx(1)


def test_a_greedy_order_takes_the_column_of_the_least_error_each_time() -> None:
    predictor, x = setup(60)
    order = greedy_order(predictor, x, num_samples=2000)
    known = torch.zeros_like(x, dtype=torch.bool)
    for column in order[:4]:
        errors = {}
        for d in range(6):
            if not known[0, d]:
                tried = known.clone()
                tried[:, d] = True
                errors[d] = float(by_hand(predictor, x, x, tried).detach().mean())
        assert errors[column] <= min(errors.values()) + 0.003  # of 2,000 draws
        known[:, column] = True
    assert sorted(order) == list(range(6))


def test_a_greedy_order_keeps_to_what_may_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, x = setup(20)
    exists = torch.ones_like(x, dtype=torch.bool)
    exists[:, 3] = False
    how: dict[str, Any] = {"mask": exists, "measured": ["x1"], "num_samples": 50, "seed": 2}
    order = greedy_order(predictor, x, acquirable=[0, 2, 3, 4], **how)
    assert sorted(order) == [2, 4]
    assert greedy_order(predictor, x, acquirable=[2, 4], steps=1, **how) == order[:1]
    wrong = x + 5 * torch.eye(6)[4]
    whole = greedy_order(predictor, wrong, truth=x, units="data", **how)
    assert whole[-1] == 4  # its measurement is wrong by 5, so it is worth least
    monkeypatch.setattr("inference.tasks.acquisition.greedy.PEOPLE", 1)
    assert greedy_order(predictor, x, acquirable=[2, 4], **how) == order


def test_curves_are_written_and_compared(tmp_path: Path) -> None:
    predictor, x = setup(12)
    curves = compare(predictor, x, {"random": RandomOrder(), "variance": Variance()})
    write_curves(tmp_path / "curve.csv", curves.values())
    rows = list(csv.DictReader((tmp_path / "curve.csv").read_text().splitlines()))
    assert list(rows[0]) == ["measured", "policy", "rmse", "nll"] and len(rows) == 14
    assert float(rows[7]["rmse"]) == pytest.approx(float(curves["variance"].mean()[0]), rel=1e-4)
    assert rows[9]["policy"] == "variance" and rows[9]["measured"] == "2"
    assert curves["variance"].sd("nll").shape == (7,)
    table = area_table(curves, against="variance", metric="nll").splitlines()
    apart = curves["random"].area("nll") - curves["variance"].area("nll")
    assert float(table[1].split()[3]) == pytest.approx(float(apart.mean()), abs=1e-3)
    assert float(table[2].split()[3]) == 0 and "area" in str(curves["random"])
    with pytest.raises(InputError, match="against"):
        area_table(curves, against="best")
    with pytest.raises(InputError, match="did you mean rmse"):
        curves["random"].mean("rms")


def test_bad_input_says_what_to_do() -> None:
    predictor, x = setup(3)
    for settings, found in (
        ({"measured": ["x9"]}, "measured"),
        ({"measured": torch.ones(3, 5, dtype=torch.bool)}, "measured"),
        ({"acquirable": [0, 0]}, "acquirable"),
        ({"costs": torch.zeros(6)}, "costs"),
        ({"costs": torch.ones(5)}, "costs"),
        ({"truth": x[:, :5]}, "truth"),
        ({"steps": 0}, "steps"),
        ({"mask": torch.ones(3, 6)}, "mask"),
    ):
        with pytest.raises(InputError) as caught:
            acquire(predictor, x, Variance(), **settings)
        assert caught.value.argument == found
    with pytest.raises(InputError, match="NaN"):
        acquire(predictor, x.masked_fill(x > 0, torch.nan), Variance())


def test_weighted_quantiles_are_where_the_weights_reach_the_level() -> None:
    values, weights = torch.tensor([[3.0], [1.0], [2.0]]), torch.tensor([[0.2], [0.5], [0.3]])
    assert weighted_quantiles(values, weights, (0.4, 0.7, 0.9)).tolist() == [[1.0, 2.0, 3.0]]


def test_a_curve_of_nothing_to_measure_has_a_point() -> None:
    predictor, x = setup(2)
    curve = acquire(predictor, x, Variance(), acquirable=[])
    assert isinstance(curve, Curve) and curve.rmse.shape == (2, 1) and curve.order.shape == (2, 0)
    assert (curve.area() == 0).all()
