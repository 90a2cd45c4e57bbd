from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from inference.diagnostics.loo import loo
from inference.errors import PairError
from tests.inference.diagnostics.odd_pairs import TwoViews, TwoViewsGuide
from tests.pairs import (
    Conjugate,
    ConjugateGuide,
    GlobalMean,
    GlobalMeanGuide,
    MixturePrior,
)

X = torch.randn(25, generator=torch.Generator().manual_seed(4))


def regression(y, x):
    b = pyro.sample("b", dist.Normal(torch.zeros(2), 3.0).to_event(1))
    with pyro.plate("n", len(y)):
        pyro.sample("y", dist.Normal((x * b).sum(-1), 0.7), obs=y)


def exact_regression_loo(y, x):
    """log p(y_i | the others) of a conjugate linear regression, by normal equations."""
    for i in range(len(y)):
        keep = torch.arange(len(y)) != i
        precision = torch.eye(2) / 9 + x[keep].T @ x[keep] / 0.49
        mean = torch.linalg.solve(precision, x[keep].T @ y[keep] / 0.49)
        variance = x[i] @ torch.linalg.solve(precision, x[i]) + 0.49
        yield dist.Normal(x[i] @ mean, variance.sqrt()).log_prob(y[i])


@pytest.mark.parametrize("width", [0.85, 1.7])
def test_loo_of_a_regression_is_the_analytic_one_whatever_the_guide(width):
    random = torch.Generator().manual_seed(0)
    x = torch.randn(25, 2, generator=random)
    y = x @ torch.tensor([1.0, -0.5]) + 0.7 * torch.randn(25, generator=random)
    precision = torch.eye(2) / 9 + x.T @ x / 0.49
    mean = torch.linalg.solve(precision, x.T @ y / 0.49)
    factor = torch.linalg.cholesky(torch.linalg.inv(precision)) * width

    def guide(y, x):
        pyro.sample("b", dist.MultivariateNormal(mean, scale_tril=factor))

    found = loo(regression, guide, y, x, num_samples=20_000)
    exact = torch.stack(list(exact_regression_loo(y, x))).double()
    assert (found.pointwise - exact).abs().max() < 0.05  # standard errors of about 0.01
    assert abs(found.elpd - float(exact.sum())) < 0.12
    assert found.error == pytest.approx(5 * float(exact.std()), rel=0.05)


def test_loo_of_latents_a_datum_is_the_evidence_of_each():
    model, guide = Conjugate(), ConjugateGuide(exact=True)
    guide.log_scale.data.fill_(math.log(2.2))  # wider than the prior, which is what stays
    found = loo(model, guide, X, num_samples=20_000)
    assert bool((found.khat < 0.5).all())
    assert (found.pointwise - model.evidence(X).detach()).abs().max() < 0.1


def test_a_latent_that_goes_with_its_datum_is_not_trusted():
    found = loo(Conjugate(), ConjugateGuide(exact=True), X, num_samples=4000)
    # the ratios are 1 / p(x_i | z_i) of draws far narrower than the prior: k is near 0.94
    assert float(found.khat.median()) > 0.7


def test_loo_with_enumerated_sites_sums_them():
    class Prior(torch.nn.Module):
        def forward(self, x):
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", dist.Normal(0.0, 3.0).expand([len(x)]))

    model, x = MixturePrior(), torch.tensor([-2.0, 0.5])
    component = dist.Normal(model.loc, math.sqrt(1.25)).log_prob(x[:, None])
    exact = (model.logits.log_softmax(-1) + component).logsumexp(-1)
    found = loo(model, Prior(), x, num_samples=40_000)
    assert (found.pointwise - exact.detach()).abs().max() < 0.05


def test_one_of_several_sites_must_be_named():
    y = torch.tensor([1.0, -1.0, 2.0, 0.0])
    with pytest.raises(PairError, match="site='x'"):
        loo(TwoViews(), TwoViewsGuide(), X[:4], y, num_samples=10)
    assert loo(TwoViews(), TwoViewsGuide(), X[:4], y, num_samples=50, site="y").site == "y"


def test_a_switch_that_all_data_share_is_refused():
    def model(x):
        c = pyro.sample("c", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(c, 1.0), obs=x)

    with pytest.raises(PairError, match="same plates"):
        loo(model, lambda x: None, X[:4], num_samples=10)


def test_it_prints_what_it_is():
    exact = GlobalMean().posterior(X)
    guide = GlobalMeanGuide(float(exact.mean), float(exact.stddev))
    assert "nats in all (25 data" in str(loo(GlobalMean(), guide, X, num_samples=200))
