from __future__ import annotations

import warnings

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide import (
    AutoDelta,
    AutoDiagonalNormal,
    AutoIAFNormal,
    AutoLaplaceApproximation,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
)

from inference import fit, importance, start
from inference.errors import PairError

GUIDES = [AutoNormal, AutoDiagonalNormal, AutoMultivariateNormal, AutoLowRankMultivariateNormal]
SIZE = 40


def far(y, x):
    """A conjugate regression whose slopes lie thousands from zero, of scales 1000 and 1."""
    b = pyro.sample("b", dist.Normal(torch.zeros(2), torch.tensor([1e5, 1e3])).to_event(1))
    with pyro.plate("n", len(y)):
        pyro.sample("y", dist.Normal((x * b).sum(-1), 3000.0), obs=y)


def data() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(SIZE, 2, generator=random) * torch.tensor([1.0, 1000.0])
    noise = 3000 * torch.randn(SIZE, generator=random)
    return (x * torch.tensor([-60_000.0, 20.0])).sum(-1) + noise, x


def exact(y, x) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and covariance of b given y."""
    x, y = x.double(), y.double()
    precision = torch.diag(torch.tensor([1e-10, 1e-6]).double()) + x.T @ x / 9e6
    return torch.linalg.solve(precision, x.T @ y / 9e6), torch.linalg.inv(precision)


@pytest.mark.parametrize("method", ["pathfinder", "laplace"])
@pytest.mark.parametrize("family", GUIDES)
def test_a_guide_starts_at_a_normal_posterior(family, method):
    y, x = data()
    guide = start(far, family, y, x, method=method, restarts=1)
    mean, covariance = exact(y, x)
    with torch.no_grad():
        b = torch.stack([guide(y, x)["b"] for _ in range(400)]).double()
    sd = covariance.diagonal().sqrt()
    own = torch.linalg.inv(covariance).diagonal().rsqrt()
    wanted = sd if family in GUIDES[2:] else own
    # 400 draws: 0.05 sd and 3.5 %; here the posterior is normal, and both methods find it
    assert ((b.mean(0) - mean).abs() < 0.2 * sd).all()
    assert ((b.std(0) / wanted - 1).abs() < 0.15).all()


def test_the_full_guide_is_the_posterior_without_any_training():
    y, x = data()
    found = importance(far, start(far, AutoMultivariateNormal, y, x), y, x, joint=True)
    assert float(found.khat) < 0.3 and float(found.ess) > 0.9 * len(found.log_weights)


def test_a_start_leaves_the_generator_and_the_default_dtype_alone(untouched):
    y, x = data()
    guide = start(far, AutoNormal, y, x, restarts=1)
    assert torch.get_default_dtype() == torch.float32
    assert all(p.dtype == torch.float32 for p in guide.parameters())


def test_the_mode_is_found_for_a_delta_and_for_laplace():
    y, x = data()
    mean, _ = exact(y, x)
    delta = start(far, AutoDelta, y, x, method="laplace")
    assert torch.allclose(delta(y, x)["b"].double(), mean, rtol=1e-4)
    guide = start(far, AutoLaplaceApproximation, y, x, method="laplace")
    assert torch.allclose(guide.loc.double(), mean, rtol=1e-4)


@pytest.mark.slow
def test_the_best_of_several_restarts_is_taken():
    def two_hills(y):
        z = pyro.sample("z", dist.Normal(0.0, 1.0).mask(False))
        hills = torch.stack([dist.Normal(-1.5, 0.1).log_prob(z), dist.Normal(1.5, 0.1).log_prob(z)])
        pyro.factor("hills", (hills + torch.tensor([0.01, 0.99]).log()).logsumexp(0))

    found = [
        float(start(two_hills, AutoNormal, torch.zeros(1), restarts=8, seed=s).median()["z"])
        for s in range(3)
    ]
    assert all(abs(z - 1.5) < 0.1 for z in found)
    alone = [
        float(start(two_hills, AutoNormal, torch.zeros(1), restarts=1, seed=s).median()["z"])
        for s in range(8)
    ]
    assert min(alone) < -1  # one climb alone may end on the small hill


@pytest.mark.slow
def test_constrained_and_enumerated_sites_are_taken():
    def mixture(y):
        theta = pyro.sample("theta", dist.Beta(5.0, 5.0))
        sigma = pyro.sample("sigma", dist.HalfNormal(2.0))
        with pyro.plate("n", len(y)):
            w = pyro.sample("w", dist.Bernoulli(theta), infer={"enumerate": "parallel"})
            pyro.sample("y", dist.Normal(6 * w - 3, sigma), obs=y)

    random = torch.Generator().manual_seed(1)
    y = torch.cat([3 + torch.randn(70, generator=random), -3 + torch.randn(30, generator=random)])
    guide = AutoMultivariateNormal(poutine.block(mixture, hide=["w"]))
    start(mixture, guide, y)
    found = importance(mixture, guide, y, joint=True, num_samples=2000)
    theta = (found.weights[:, 0] * found.draws["theta"]).sum()
    # Beta(75, 35) but for the overlap of components 6 sds apart
    assert abs(float(theta) - 75 / 110) < 0.02
    assert float(found.ess) > 0.8 * len(found.log_weights)  # a posterior that is almost normal


def test_another_kind_of_guide_is_refused_with_a_cure_that_works():
    y, x = data()
    with pytest.raises(PairError, match="AutoMultivariateNormal"):
        start(far, AutoIAFNormal(far), y, x)
    assert isinstance(start(far, AutoMultivariateNormal, y, x, restarts=1), AutoMultivariateNormal)


def test_fit_says_that_scales_differ_by_thousands():
    def model(y):
        a = pyro.sample("a", dist.Normal(0.0, 1e6))
        s = pyro.sample("s", dist.LogNormal(10.0, 1.0))
        with pyro.plate("n", len(y)):
            pyro.sample("y", dist.Normal(a, s), obs=y)

    y = 50_000 + 20_000 * torch.randn(100)
    guide = start(model, AutoNormal, y, restarts=2)
    run = fit(model, guide, y, epochs=2, progress=False)
    assert any("differ by a factor of" in note and "'a'" in note for note in run.notes)
    y, x = data()
    small = fit(far, AutoNormal(far), (y, x), epochs=1, progress=False)
    assert not any("differ" in note for note in small.notes)


def exchangeable(y):
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0).expand([2]).to_event(1))
    parts = dist.Categorical(torch.tensor([0.5, 0.5]))
    with pyro.plate("n", len(y)):
        each = dist.Normal(mu.unsqueeze(-2), 1.0)
        pyro.sample("y", dist.MixtureSameFamily(parts, each), obs=y)


def ordered(y):
    low = pyro.sample("low", dist.Normal(0.0, 5.0))
    gap = pyro.sample("gap", dist.HalfNormal(5.0))
    parts = dist.Categorical(torch.tensor([0.5, 0.5]))
    with pyro.plate("n", len(y)):
        each = dist.Normal(torch.stack([low, low + gap], -1).unsqueeze(-2), 1.0)
        pyro.sample("y", dist.MixtureSameFamily(parts, each), obs=y)


@pytest.mark.parametrize(("model", "count"), [(exchangeable, 1), (ordered, 0)])
def test_two_modes_are_told_and_one_is_not(model, count):
    """Importance weights of a guide at one mode look perfect: only the climbs can tell."""
    random = torch.Generator().manual_seed(0)
    y = torch.cat([torch.randn(20, generator=random) - 3, torch.randn(20, generator=random) + 3])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        start(model, AutoNormal, y, seed=0)
    assert sum("several modes" in str(warning.message) for warning in told) == count
