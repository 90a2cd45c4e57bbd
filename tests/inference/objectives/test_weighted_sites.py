from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.distributions import kl_divergence

from inference.errors import PairError
from inference.objectives.objective import Objective
from inference.randomness import seeded
from inference.schedules import linear
from inference.tracing.bind import bind
from tests import pairs


def data(*shape: int) -> torch.Tensor:
    with seeded(3):
        return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0, 4.0])
def test_kl_weight_reaches_model_and_guide_in_closed_form(weight: float) -> None:
    x = data(5)
    model, guide = pairs.Conjugate().double(), pairs.ConjugateGuide().double()
    q = dist.Normal(guide.slope * x, guide.log_scale.exp())
    kl = kl_divergence(q, dist.Normal(torch.zeros(5, dtype=x.dtype), 2.0)).sum()
    with seeded(1):
        z = q.rsample()
    distortion = -dist.Normal(z, model.log_noise.exp()).log_prob(x).sum()
    with seeded(1):
        loss = Objective("meanfield", kl_weight=weight).loss(model, guide, (x,))
    assert torch.isclose(loss, (distortion + weight * kl) / 5, atol=1e-12)


@pytest.mark.parametrize("kind", ["trace", "enum"])
def test_kl_weight_of_a_sampled_bound(kind: str) -> None:
    x = data(5)
    model, guide = pairs.Conjugate().double(), pairs.ConjugateGuide().double()
    q = dist.Normal(guide.slope * x, guide.log_scale.exp())
    with seeded(1):
        z = q.rsample()
    ratio = q.log_prob(z) - dist.Normal(0 * x, 2.0).log_prob(z)
    expected = 0.25 * ratio - dist.Normal(z, model.log_noise.exp()).log_prob(x)
    with seeded(1):
        loss = Objective(kind, kl_weight=linear(4)).loss(model, guide, (x,), step=1)
    assert torch.isclose(loss, expected.mean(), atol=1e-12)


@pytest.mark.parametrize("kind", ["trace", "meanfield", "enum"])
def test_batches_average_to_the_whole(kind: str) -> None:
    # one draw of mu for all batches: then the mean over a partition is the whole bound exactly
    x = data(12)
    model, guide = pairs.GlobalMean().double(), pairs.GlobalMeanGuide().double()
    objective = Objective(kind, kl_weight=0.7)
    with seeded(5):
        whole = objective.loss(model, guide, (x,))
    parts = []
    for batch in x.split(4):
        with seeded(5):
            parts.append(objective.loss(model, guide, (batch,), data_size=12))
    assert torch.isclose(torch.stack(parts).mean(), whole, atol=1e-12)
    params = [*guide.parameters()]
    expected = torch.autograd.grad(whole, params)
    for got, want in zip(
        torch.autograd.grad(torch.stack(parts).mean(), params), expected, strict=True
    ):
        assert torch.isclose(got, want, atol=1e-12)


def test_uneven_batches_weigh_by_their_size() -> None:
    x = data(7)
    model, guide = pairs.GlobalMean().double(), pairs.GlobalMeanGuide().double()
    with seeded(5):
        whole = Objective().bound(model, guide, (x,))
    total = 0.0
    for batch in x.split(3):  # sizes 3, 3, 1
        with seeded(5):
            total += len(batch) / 7 * Objective().bound(model, guide, (batch,), data_size=7)
    assert torch.isclose(torch.as_tensor(total), whole, atol=1e-12)


def test_a_model_that_subsamples_itself_is_scaled_once() -> None:
    x = data(12)
    index = torch.tensor([1, 5, 6])

    def model(x: torch.Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(torch.zeros((), dtype=x.dtype), 3.0))
        with pyro.plate("data", len(x), subsample=index, dim=-1) as rows:
            pyro.sample("x", dist.Normal(mu, 1.0), obs=x[rows])

    guide = pairs.GlobalMeanGuide().double()
    bound_model, guide = bind(model, guide, x)
    with seeded(2):
        mu = torch.distributions.Normal(guide.loc, guide.log_scale.exp()).rsample()
    ratio = guide_ratio(guide, mu)
    expected = (dist.Normal(mu, 1.0).log_prob(x[index]).sum() * 4 + ratio) / 12
    with seeded(2):
        loss = Objective().loss(bound_model, guide, (x,), data_size=12)
    assert torch.isclose(-loss, expected, atol=1e-12)


def guide_ratio(guide: nn.Module, mu: torch.Tensor) -> torch.Tensor:
    q = dist.Normal(guide.loc, guide.log_scale.exp())
    return dist.Normal(0.0 * mu, 3.0).log_prob(mu) - q.log_prob(mu)


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_a_prior_that_depends_on_an_enumerated_site(weight: float) -> None:
    # the common poutine.scale that Pyro asks for never breaks: the log of the sum is weighted
    x = data(6)
    model, guide = pairs.MixturePrior().double(), pairs.ConjugateGuide().double()
    q = dist.Normal(guide.slope * x, guide.log_scale.exp())
    with seeded(4):
        z = q.rsample()
    prior = dist.Normal(model.loc, 1.0).log_prob(z[:, None])
    marginal = (model.logits.log_softmax(-1) + prior).logsumexp(-1)
    expected = dist.Normal(z, 0.5).log_prob(x) + weight * (marginal - q.log_prob(z))
    with seeded(4):
        loss = Objective(kl_weight=weight).loss(model, guide, (x,), data_size=60)
    assert torch.isclose(-loss, expected.mean(), atol=1e-12)
    if weight == 1.0:
        with seeded(4):
            bound = Objective().bound(model, guide, (x,))
        assert torch.allclose(bound, expected, atol=1e-12)


def test_a_global_enumerated_site_cannot_be_batched() -> None:
    class WhichMean(nn.Module):
        def forward(self, x: torch.Tensor) -> None:
            w = pyro.sample("w", dist.Categorical(torch.ones(2)), infer={"enumerate": "parallel"})
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("x", dist.Normal(torch.tensor([-1.0, 1.0])[w], 1.0), obs=x)

    x = torch.randn(4)
    with pytest.raises(PairError, match="outside the plate 'data'") as error:
        Objective().loss(WhichMean(), pairs.NoLatents(), (x,), data_size=40)
    assert error.value.site == "w"
    joint = torch.stack([dist.Normal(m, 1.0).log_prob(x).sum() for m in (-1.0, 1.0)])
    bound = Objective().bound(WhichMean(), pairs.NoLatents(), (x,))
    assert torch.isclose(bound, (joint.logsumexp(0) - math.log(2)) / 4)
