"""What every penalty does: its site, its weight, the prior's draws, and its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from inference import PairError
from inference.objectives.penalties import (
    MMD,
    AdversarialPrior,
    FactorCritic,
    Penalty,
    SlicedWasserstein,
    TotalCorrelation,
    WassersteinCritic,
)
from inference.objectives.penalties.base import prior_draws
from inference.schedules import linear
from ppl_models.errors import InputError
from tests.inference.objectives.penalties.views import affine, view

KINDS: tuple[Callable[..., Penalty], ...] = (
    TotalCorrelation,
    MMD,
    SlicedWasserstein,
    FactorCritic,
    AdversarialPrior,
    WassersteinCritic,
)
every = pytest.mark.parametrize("kind", KINDS)


class Two(nn.Module):
    """A label, an upper code w and a lower one z, whose prior depends on both."""

    def forward(self, x: Tensor, size: int = 1) -> None:
        with pyro.plate("data", len(x), dim=-1):
            label = pyro.sample("label", dist.Bernoulli(0.5))
            w = pyro.sample("w", dist.Normal(x.new_zeros(2), 0.1).to_event(1))
            z = pyro.sample("z", dist.Normal(w + 10 * label[:, None], 0.1).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


class TwoGuide(nn.Module):
    def forward(self, x: Tensor, size: int = 1) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("label", dist.Bernoulli(0.5).expand([1]))
            pyro.sample("w", dist.Normal(x, 1.0).to_event(1))
            pyro.sample("z", dist.Normal(x, 1.0).to_event(1))


@every
def test_a_site_that_is_not_there_is_named(kind: Callable[..., Penalty]) -> None:
    with pytest.raises(PairError, match="zz") as found:
        kind(1.0, site="zz")(view(*affine(), torch.randn(5, 3)))
    assert found.value.site == "zz" and "z" in found.value.found


@every
def test_one_of_several_sites_must_be_named(kind: Callable[..., Penalty]) -> None:
    trace = view(Two(), TwoGuide(), torch.randn(6, 2))
    with pytest.raises(PairError, match="site='w'"):
        kind(1.0)(trace)
    assert kind(1.0, site="z")(trace).isfinite()
    with pytest.raises(PairError, match="the continuous latent sites w, z"):
        kind(1.0, site="label")(trace)


@every
def test_one_datum_has_a_finite_penalty(kind: Callable[..., Penalty]) -> None:
    trace, penalty = view(*affine(), torch.randn(1, 3)), kind(1.0)
    assert penalty(trace).isfinite()
    if hasattr(penalty, "learn"):
        penalty.learn(trace)


@every
def test_a_weight_of_zero_costs_and_changes_nothing(kind: Callable[..., Penalty]) -> None:
    trace = view(*affine(), torch.randn(5, 3))
    trace = replace(trace, model=None)  # which nobody may ask
    assert kind(linear(10))(trace).item() == 0


@every
def test_the_weight_multiplies(kind: Callable[..., Penalty]) -> None:
    trace = view(*affine(), torch.randn(40, 3), step=5)
    values = []
    for weight in (1.0, 3.0, linear(10)):
        torch.manual_seed(3)
        values.append(kind(weight)(trace).item())
    assert values[1] == pytest.approx(3 * values[0], rel=1e-5)
    assert values[2] == pytest.approx(values[0] / 2, rel=1e-5)


@every
def test_its_name_shows_its_settings(kind: Callable[..., Penalty]) -> None:
    assert repr(kind(2.5)) != repr(kind(2.0))
    assert "site='w'" in repr(kind(2.0, site="w"))


@every
@pytest.mark.parametrize("weight", [-1.5, float("inf"), "1", None])
def test_a_weight_is_looked_at(kind: Callable[..., Penalty], weight: object) -> None:
    with pytest.raises(InputError):
        kind(weight)


def test_codes_of_another_plate_are_refused() -> None:
    class Views(nn.Module):
        def forward(self, x: Tensor) -> None:
            with pyro.plate("views", 2, dim=-2), pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", dist.Normal(x, 1.0).to_event(1))

    with pytest.raises(PairError, match=r"batch shape \(2, 5\) for 5 data"):
        MMD(1.0)(view(Views(), Views(), torch.randn(5, 3)))


def test_the_prior_is_drawn_from_the_models_own_start() -> None:
    """Labels, upper codes and all; and the run goes no further than the site."""
    model = Two()
    trace, penalty = view(model, TwoGuide(), torch.randn(2000, 2)), MMD(1.0, site="z")
    trace = replace(trace, args=(torch.full((2000, 2), torch.nan),))  # x's scoring would complain
    drawn = prior_draws(trace, penalty.codes(trace))
    assert drawn.shape == (2000, 2)
    upper = drawn[:, 0] > 5
    assert 0.45 < upper.float().mean() < 0.55  # 4.5 s.e.
    assert drawn[upper].std().item() == pytest.approx(2**0.5 * 0.1, rel=0.1)


def test_a_site_without_a_prior_is_refused() -> None:
    trace = replace(view(*affine(), torch.randn(5, 3)), model=lambda x: None)
    with pytest.raises(PairError, match="a site of the guide alone") as found:
        SlicedWasserstein(1.0)(trace)
    assert found.value.site == "z"
