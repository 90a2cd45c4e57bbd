from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoMultivariateNormal

from inference.diagnostics.importance import importance
from inference.diagnostics.rates import rates
from inference.errors import PairError
from tests.inference.diagnostics.odd_pairs import (
    Hierarchy,
    HierarchyGuide,
    LocalGuide,
    SharedSwitch,
    Tracks,
    TracksGuide,
    TwoViews,
    TwoViewsGuide,
)
from tests.pairs import Conjugate, ConjugateGuide, NoLatents, TwoComponents

X, Y = torch.tensor([0.5, -3.0, 2.5, 0.0]), torch.tensor([1.0, -1.0, 2.0, 0.0])
LOCAL = {
    "one latent": (Conjugate(), ConjugateGuide(), X),
    "an enumerated site": (TwoViews(), TwoViewsGuide(), X, Y),
    "nested plates": (Tracks(), TracksGuide(), torch.randn(3, 4, 2)),
    "no latent": (TwoComponents(), NoLatents(), X),
}


@pytest.mark.parametrize("name", LOCAL)
def test_the_rows_add_up_to_the_bound(name):
    model, guide, *data = LOCAL[name]
    table = rates(model, guide, *data, num_samples=40, seed=1)
    weights = importance(model, guide, *data, num_samples=40, seed=1)
    mean, error = weights.elbo_mean
    assert -sum(row.nats for row in table.rows) == pytest.approx(table.bound, abs=1e-9)
    assert table.bound == pytest.approx(mean, abs=1e-5)
    assert table.error == pytest.approx(error, abs=1e-5)


def test_a_rate_is_the_divergence_from_the_prior():
    model, guide = Conjugate(), ConjugateGuide()
    table = rates(model, guide, X, num_samples=20_000)
    q = torch.distributions.Normal(guide.slope.detach() * X, guide.log_scale.detach().exp())
    prior = torch.distributions.Normal(0.0, 2.0)
    exact = torch.distributions.kl_divergence(q, prior)
    # log q - log p has standard deviation under 1.1: over 80,000 draws 0.004
    assert table["z"].nats == pytest.approx(float(exact.mean()), abs=0.02)
    assert table["z"].error == pytest.approx(float(exact.std()) / 2, abs=0.02)
    noise = 0.5 * math.log(2 * math.pi * 0.25) + ((X - q.mean) ** 2 + q.variance) / 0.5
    assert table["x"].nats == pytest.approx(float(noise.mean()), rel=0.02)
    assert table["x"].kind == "distortion" and table["z"].kind == "rate"


def test_an_unused_latent_has_no_rate():
    guide = ConjugateGuide()
    guide.slope.data.fill_(0.0)
    guide.log_scale.data.fill_(math.log(2.0))
    assert rates(Conjugate(), guide, X)["z"].nats == pytest.approx(0.0, abs=1e-6)


def test_the_rate_of_an_enumerated_site_is_that_of_its_exact_posterior():
    model = TwoComponents()
    joint = model.joint(X).detach()
    posterior, prior = joint.softmax(-1), model.logits.detach().softmax(-1)
    kl = (posterior * (posterior / prior).log()).sum(-1)
    table = rates(model, NoLatents(), X, num_samples=2)
    assert table["w"].nats == pytest.approx(float(kl.mean()), abs=1e-6)
    assert table.bound == pytest.approx(float(model.evidence(X).detach().mean()), abs=1e-6)


def test_a_latent_outside_the_plate_counts_once():
    table = rates(Hierarchy(), HierarchyGuide(), X, num_samples=200)
    joint = importance(Hierarchy(), HierarchyGuide(), X, num_samples=200, joint=True)
    assert not table["mu"].local and table["z"].local
    assert table.bound == pytest.approx(joint.elbo_mean[0], abs=1e-5)
    assert "outside the data plate" in str(table)


def test_a_minibatch_counts_it_as_one_of_n():
    small = rates(Hierarchy(), HierarchyGuide(), X, num_samples=50)
    large = rates(Hierarchy(), HierarchyGuide(), X, num_samples=50, data_size=40)
    assert large["mu"].nats == pytest.approx(small["mu"].nats / 10)
    assert large["z"].nats == small["z"].nats


def test_sites_with_one_posterior_are_one_row():
    model = Hierarchy()
    torch.manual_seed(0)
    guide = AutoMultivariateNormal(model)
    table = rates(model, guide, X, num_samples=30, seed=2)
    joint = importance(model, guide, X, num_samples=30, seed=2, joint=True)
    assert [row.site for row in table.rows][-1] == "x" and len(table.rows) == 2
    assert "mu" in table.rows[0].site and "z" in table.rows[0].site
    assert table.bound == pytest.approx(joint.elbo_mean[0], abs=1e-4)


def test_an_enumerated_site_shared_by_all_data():
    table = rates(SharedSwitch(), LocalGuide(), X, num_samples=60, seed=3)
    joint = importance(SharedSwitch(), LocalGuide(), X, num_samples=60, seed=3, joint=True)
    assert table.bound == pytest.approx(joint.elbo_mean[0], abs=1e-5)
    with pytest.raises(PairError):
        rates(SharedSwitch(), LocalGuide(), X, data_size=100)


def test_a_row_that_is_not_there():
    with pytest.raises(KeyError, match="'z', 'x'"):
        rates(Conjugate(), ConjugateGuide(), X, num_samples=2)["y"]


class NoPlate(torch.nn.Module):
    def forward(self, x):
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(mu.expand(len(x)), 1.0).to_event(1), obs=x)


class NoPlateGuide(torch.nn.Module):
    def forward(self, x):
        pyro.sample("mu", dist.Normal(0.2, 0.6))


def test_without_a_plate_figures_and_errors_are_those_of_one_of_n():
    alone, of_ten = (rates(NoPlate(), NoPlateGuide(), X, data_size=n) for n in (None, 10))
    assert of_ten.bound == pytest.approx(alone.bound / 10)
    assert of_ten.error == pytest.approx(alone.error / 10)
    for row, other in zip(of_ten.rows, alone.rows, strict=True):
        assert (row.nats, row.error) == pytest.approx((other.nats / 10, other.error / 10))
