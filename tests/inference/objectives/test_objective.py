from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from inference.errors import PairError
from inference.objectives.objective import Objective
from inference.randomness import seeded
from tests import pairs


def data(*shape: int) -> torch.Tensor:
    with seeded(3):
        return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("kind", ["auto", "trace"])
def test_exact_posterior_gives_the_evidence(kind: str) -> None:
    # log p(x, z) - log q(z | x) is the constant log p(x), whatever z: no Monte Carlo error
    x = data(7)
    model = pairs.Conjugate().double()
    guide = pairs.ConjugateGuide(exact=True).double()
    bound = Objective(kind).bound(model, guide, (x,))
    # parameters are stored as float32 and widened: 1e-6
    assert torch.allclose(bound, model.evidence(x), atol=1e-6)
    loss = Objective(kind).loss(model, guide, (x,))
    assert torch.isclose(-loss, model.evidence(x).mean(), atol=1e-6)


def test_exact_posterior_of_a_global_latent_gives_the_evidence() -> None:
    x = data(7)
    model = pairs.GlobalMean().double()
    exact = model.posterior(x)
    guide = pairs.GlobalMeanGuide(exact.loc.item(), exact.scale.item()).double()
    bound = Objective().bound(model, guide, (x,))
    assert bound.shape == ()
    assert math.isclose(bound.item(), model.evidence(x).item() / 7, abs_tol=1e-5)


def test_bound_is_never_weighted() -> None:
    x = data(5)
    model, guide = pairs.Conjugate().double(), pairs.ConjugateGuide().double()
    with seeded(0):
        plain = Objective().bound(model, guide, (x,))
    with seeded(0):
        weighted = Objective(kl_weight=0.1).bound(model, guide, (x,))
    assert torch.equal(plain, weighted)
    x, model, guide = data(5), pairs.GlobalMean().double(), pairs.GlobalMeanGuide().double()
    with seeded(0):
        plain = Objective().bound(model, guide, (x,))
    with seeded(0):
        weighted = Objective(kl_weight=0.1).bound(model, guide, (x,))
    assert torch.equal(plain, weighted)


def test_particles_average() -> None:
    x = data(4)
    model, guide = pairs.Conjugate().double(), pairs.ConjugateGuide().double()
    q = dist.Normal(guide.slope * x, guide.log_scale.exp())
    with seeded(1):
        draws = torch.stack([q.rsample() for _ in range(3)])
    each = dist.Normal(draws, 0.5).log_prob(x) + dist.Normal(0 * x, 2.0).log_prob(draws)
    expected = (each - q.log_prob(draws)).mean(0)
    for kind in ("trace", "enum"):
        with seeded(1):
            bound = Objective(kind, num_particles=3).bound(model, guide, (x,))
        assert torch.allclose(bound, expected, atol=1e-6)  # log_noise is a float32, widened
        with seeded(1):
            loss = Objective(kind, num_particles=3).loss(model, guide, (x,))
        assert torch.isclose(-loss, expected.mean(), atol=1e-6)


def test_a_batch_needs_a_plate() -> None:
    class NoPlate(nn.Module):
        def forward(self, x: torch.Tensor) -> None:
            mu = pyro.sample("mu", dist.Normal(0.0, 3.0))
            pyro.sample("x", dist.Normal(mu, 1.0).expand(x.shape).to_event(1), obs=x)

    x = torch.randn(4)
    with pytest.raises(PairError, match="no plate of size 4"):
        Objective().loss(NoPlate(), pairs.GlobalMeanGuide(), (x,), data_size=40)
    assert Objective().loss(NoPlate(), pairs.GlobalMeanGuide(), (x,)).isfinite()


def test_a_sampling_objective_refuses_an_enumerated_site() -> None:
    with pytest.raises(PairError, match="kind='enum'"):
        Objective("trace").loss(pairs.TwoComponents(), pairs.NoLatents(), (torch.randn(3),))


@pytest.mark.parametrize(
    "wrong", [{"kind": "vae"}, {"num_particles": 0}, {"kl_weight": -1.0}, {"kl_weight": math.nan}]
)
def test_settings_are_checked(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Objective(**wrong)


def test_a_schedule_that_goes_wrong_is_named() -> None:
    with pytest.raises(ValueError, match="kl_weight is -1"):
        Objective(kl_weight=lambda step: -1.0).weight(3)


def test_loss_leaves_nothing_behind(untouched: None) -> None:
    model, guide = pairs.Conjugate(), pairs.ConjugateGuide()
    with seeded(0):
        Objective().loss(model, guide, (torch.arange(3.0),))
        Objective().bound(model, guide, (torch.arange(4.0),))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pair", ["local", "global"])
def test_bound_and_loss_have_the_dtype_of_the_data(dtype: torch.dtype, pair: str) -> None:
    model, guide = pairs.Conjugate(), pairs.ConjugateGuide()
    if pair == "global":
        model, guide = pairs.GlobalMean(), pairs.GlobalMeanGuide()
    model, guide, x = model.to(dtype), guide.to(dtype), data(5).to(dtype)
    assert Objective().bound(model, guide, (x,)).dtype == dtype
    with pyro.validation_enabled(False):
        assert Objective().loss(model, guide, (x,)).dtype == dtype
    assert Objective().loss(model, guide, (x,)).dtype == dtype
