from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from inference.errors import PairError
from inference.objectives.free_bits import FreeBits
from inference.objectives.kl_weight import columns, unfinished_warmup, weight_of
from inference.objectives.objective import Objective
from inference.objectives.target_rate import TargetRate
from inference.randomness import seeded
from inference.schedules import linear
from inference.training.fit import fit
from tests import pairs


class Levels(nn.Module):
    """x from b, b from a."""

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            a = pyro.sample("a", dist.Normal(torch.zeros_like(x), 1.0))
            b = pyro.sample("b", dist.Normal(a, 2.0))
            pyro.sample("x", dist.Normal(b, 0.5), obs=x)


class LevelsGuide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([0.3, 0.8]).double())

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("a", dist.Normal(self.slope[0] * x, 0.7))
            pyro.sample("b", dist.Normal(self.slope[1] * x, 0.6))


def x() -> Tensor:
    with seeded(3):
        return torch.randn(5).double()


def parts(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Distortion, and the rates of a and b, in closed form given a draw of both."""
    q = [Normal(slope * x(), scale) for slope, scale in ((0.3, 0.7), (0.8, 0.6))]
    with seeded(seed):
        a, b = (one.rsample() for one in q)
    rates = kl_divergence(q[0], Normal(0.0, 1.0)), kl_divergence(q[1], Normal(a, 2.0))
    return -Normal(b, 0.5).log_prob(x()).mean(), rates[0].mean(), rates[1].mean()


@pytest.mark.parametrize("validation", [True, False], ids=["traces", "pathwise"])
@pytest.mark.parametrize("more", [{}, {"free_bits": FreeBits(0.0)}], ids=["plain", "by terms"])
def test_each_site_has_its_weight(validation: bool, more: dict[str, Any]) -> None:
    distortion, of_a, of_b = parts(1)
    with pyro.validation_enabled(validation):
        for kl_weight, expected in (
            ({"a": 0.5, "b": 3.0}, distortion + 0.5 * of_a + 3 * of_b),
            ({"a": linear(4)}, distortion + 0.25 * of_a + of_b),  # b is not named: 1
            ({"a": 0.0, "b": 0.0}, distortion),
        ):
            objective = Objective("meanfield", kl_weight=kl_weight, **more)
            with seeded(1):
                loss = objective.loss(Levels(), LevelsGuide(), (x(),), step=1)
            assert torch.isclose(loss, expected, atol=1e-12)


def test_a_site_inside_a_sum_has_its_weight() -> None:
    model, guide, losses = pairs.MixturePrior().double(), pairs.ConjugateGuide().double(), []
    for kl_weight in (0.3, {"z": 0.3}):
        with seeded(1):
            losses.append(Objective(kl_weight=kl_weight).loss(model, guide, (x(),)))
    assert losses[0] == losses[1]


@pytest.mark.parametrize("more", [{}, {"free_bits": FreeBits(0.0)}])
def test_a_site_that_is_not_there_is_named(more: dict[str, Any]) -> None:
    with pytest.raises(PairError, match=r"(?s)'w'.*one of a, b"):
        Objective(kl_weight={"w": 0.5}, **more).loss(Levels(), LevelsGuide(), (x(),))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kl_weight": {}}, "names no site"),
        ({"kl_weight": "much"}, "kl_weight is 'much'"),
        ({"kl_weight": {"a": -1.0}}, r"kl_weight\['a'\] is -1"),
        ({"kl_weight": {"a": float("nan")}}, r"kl_weight\['a'\] is nan"),
        ({"kl_weight": {"a": {"b": 1.0}}}, r"kl_weight\['a'\] is \{'b': 1.0\}"),
        ({"kl_weight": {"a": TargetRate(1.0)}}, r"kl_weight\['a'\] is a target rate"),
        ({"kl_weight": {"a": 0.5}, "kind": "iwae"}, "one for all"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Objective(**settings)


def test_a_schedule_that_goes_wrong_is_named() -> None:
    with pytest.raises(ValueError, match=r"kl_weight\['b'\] is -3"):
        Objective(kl_weight={"a": 1.0, "b": lambda step: -float(step)}).weight(3)


def test_the_setting_is_kept_as_it_was() -> None:
    given: dict[str, Any] = {"a": 0.5}
    objective = Objective(kl_weight=given)
    given["a"] = 2.0
    assert objective.weight() == {"a": 0.5} and "{'a': 0.5}" in repr(objective)


def test_the_history_has_a_column_a_site() -> None:
    options: dict[str, Any] = {"epochs": 2, "batch_size": 5, "progress": False, "report_every": 1}
    weights = {"a": linear(100), "b": linear(1, end=0.1)}
    run = fit(Levels(), LevelsGuide(), x(), objective=Objective(kl_weight=weights), **options)
    assert [row["kl_weight a"] for row in run.history] == [0.0, 0.01]
    assert run.history[-1]["kl_weight b"] == 0.1
    assert "KL weight had only reached 0.01" in str(run)


def test_a_weight_that_still_rises() -> None:
    for rising in (linear(100), {"a": linear(100), "b": linear(50)}):
        assert unfinished_warmup(weight_of(rising), 10) == pytest.approx(0.09)
    for level in (linear(4), linear(4, end=0.1), 0.5, {"a": 0.5}, TargetRate(1.0, start=0.1)):
        assert unfinished_warmup(weight_of(level), 10) is None
    assert columns(weight_of({"a": linear(4), "b": 1}).value_at(2)) == {
        "kl_weight a": 0.5,
        "kl_weight b": 1.0,
    }
