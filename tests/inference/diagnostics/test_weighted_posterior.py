"""Weighted draws are the posterior's, where k-hat says so; a guide's are not."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoMultivariateNormal

from inference.diagnostics.arviz_export import posterior
from inference.diagnostics.importance import importance
from inference.errors import PairError
from tests.pairs import (
    Conjugate,
    ConjugateGuide,
    GlobalMean,
    GlobalMeanGuide,
    MixturePrior,
    TwoComponents,
)

X = torch.tensor([0.2, 1.0, -0.5, 0.4])


def global_guide(width: float, shift: float = 0.0) -> GlobalMeanGuide:
    """The posterior of `GlobalMean` on X, with another width, shifted by so many sds."""
    exact = GlobalMean().posterior(X)
    return GlobalMeanGuide(float(exact.mean + shift * exact.stddev), float(exact.stddev) * width)


@pytest.mark.parametrize(("width", "shift"), [(0.8, 0.0), (1.6, 0.5), (0.9, 0.3)])
def test_weighted_moments_are_the_posteriors_where_the_guides_are_not(width, shift):
    exact = GlobalMean().posterior(X)
    raw = posterior(GlobalMean(), global_guide(width, shift), X, num_samples=4000)
    result = posterior(GlobalMean(), global_guide(width, shift), X, num_samples=4000, weighted=True)
    mu, attrs = result["posterior"]["mu"].values[0], result["posterior"].attrs
    assert attrs["weighted"] == 1 and attrs["reliable"] == 1
    assert attrs["khat"] + 2 * attrs["khat_error"] < attrs["threshold"] <= 0.7
    mean, sd = float(exact.mean), float(exact.stddev)
    # what the benchmark asks: 0.15 sd and 10 %. Here ESS is over 1,000, so errors are 0.03 and 2 %.
    assert abs(mu.mean() - mean) < 0.1 * sd and abs(mu.std() / sd - 1) < 0.08
    unweighted = raw["posterior"]["mu"].values[0]
    assert abs(unweighted.std() / sd - width) < 0.04 and abs(unweighted.std() / sd - 1) > 0.08
    assert (
        raw["posterior"].attrs["weighted"] == 0
        and "weighted=True" in raw["posterior"].attrs["note"]
    )


def test_a_hopeless_guide_is_flagged_and_warned_of():
    with pytest.warns(UserWarning, match="k-hat"):
        result = posterior(GlobalMean(), global_guide(0.2), X, weighted=True)
    assert result["posterior"].attrs["reliable"] == 0


def test_each_datum_is_weighted_by_its_own_weights():
    model, x = Conjugate(), 2 * torch.randn(40, generator=torch.Generator().manual_seed(0))
    guide = ConjugateGuide(exact=True)
    guide.log_scale.data += math.log(1.5)
    guide.slope.data -= 0.1
    result = posterior(model, guide, x, num_samples=3000, weighted=True)
    z, exact = result["posterior"]["z"].values[0], model.posterior(x)
    error = (torch.tensor(z).mean(0) - exact.mean.detach()) / exact.stddev.detach()
    # 40 data, standard errors of about 1 / sqrt(1500) = 0.026 sd
    assert error.abs().max() < 0.1
    assert (torch.tensor(z).std(0) / exact.stddev.detach() - 1).abs().max() < 0.1
    # resampled apart: neighbouring data are as independent as in the posterior
    assert abs(np.corrcoef(z[:, 0], z[:, 1])[0, 1]) < 0.08


def test_weights_and_draws_are_paired():
    guide = global_guide(1.5)
    found = importance(GlobalMean(), guide, X, num_samples=300, joint=True)
    mu = found.draws["mu"]
    assert mu.shape == (300,) and found.weights.shape == (300, 1)
    assert torch.allclose(found.weights.sum(0), torch.ones(1).double())
    log_p = dist.Normal(0.0, 3.0).log_prob(mu) + dist.Normal(mu[:, None], 1.0).log_prob(X).sum(1)
    log_q = dist.Normal(guide.loc, guide.log_scale.exp()).log_prob(mu)
    assert torch.allclose(found.log_weights[:, 0].float(), (log_p - log_q).detach(), atol=1e-4)


def test_weights_and_draws_are_paired_where_a_pair_does_not_broadcast():
    def model(y, x):  # X @ b does not take an outer plate of draws
        b = pyro.sample("b", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("n", len(y)):
            pyro.sample("y", dist.Normal(x @ b, 1.0), obs=y)

    x = torch.randn(50, 2)
    y = x @ torch.ones(2)
    guide = AutoMultivariateNormal(model, init_scale=0.15)
    found = importance(model, guide, y, x, num_samples=60, joint=True)
    b = found.draws["b"].double()
    log_p = dist.Normal(0.0, 1.0).log_prob(b).sum(1)
    log_p += dist.Normal(b @ x.T.double(), 1.0).log_prob(y.double()).sum(1)
    q = guide.get_posterior()
    log_q = q.log_prob(b.float()).double()
    assert torch.allclose(found.log_weights[:, 0], (log_p - log_q).detach(), atol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of k-hat: the guide was not fitted
        result = posterior(model, guide, y, x, num_samples=20, weighted=True, max_samples=1000)
    assert "RuntimeError" in result["posterior"].attrs["one_by_one"]
    values = torch.tensor(result["posterior"]["b"].values[0])
    theirs = dist.Normal(values @ x.T, 1.0).log_prob(y)
    ours = torch.tensor(result["log_likelihood"]["y"].values[0]).float()
    assert torch.allclose(ours, theirs, atol=1e-3)


@pytest.mark.parametrize("predictive", [True, False])
def test_importance_and_posterior_draw_alike_from_one_seed(predictive):
    def model(y, x):
        b = pyro.sample("b", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("n", len(y)):
            pyro.sample("y", dist.Normal(x @ b, 1.0), obs=y)  # does not broadcast over draws

    x = torch.linspace(-1.0, 1.0, 40).reshape(20, 2)
    guide = AutoMultivariateNormal(model)
    weights = importance(model, guide, x.sum(1), x, num_samples=30, joint=True, seed=3)
    idata = posterior(model, guide, x.sum(1), x, num_samples=30, seed=3, predictive=predictive)
    assert np.array_equal(weights.draws["b"], idata.posterior["b"].values[0])


def test_enumerated_sites_are_drawn_after_the_weighting():
    class Wide(ConjugateGuide):
        def forward(self, x, size=1):
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", dist.Normal(0.5 * x, 1.5))

    model, x = MixturePrior(), torch.tensor([-2.0, -0.3, 1.0])
    result = posterior(model, Wide(), x, num_samples=8000, weighted=True, khat_error=0.08)
    w = result["posterior"]["w"].values[0]
    # p(w | x): x ~ N(loc_w, sqrt(1 + 0.25)) under each component
    log_p = model.logits.log_softmax(-1) + dist.Normal(model.loc, math.sqrt(1.25)).log_prob(
        x[:, None]
    )
    exact = log_p.softmax(-1)[:, 1].detach().numpy()
    assert np.abs(w.mean(0) - exact).max() < 0.03  # standard error below 0.01


def test_a_pair_that_is_all_summed_has_equal_weights():
    from tests.pairs import NoLatents

    result = posterior(TwoComponents(), NoLatents(), X, num_samples=50, weighted=True)
    assert result["posterior"].attrs["khat"] == -np.inf
    assert result["posterior"]["w"].shape == (1, 50, 4)


def test_a_plate_that_subsamples_itself_is_refused():
    def model(x):
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x), subsample_size=2) as rows:
            pyro.sample("x", dist.Normal(mu, 1.0), obs=x[rows])

    def guide(x):
        pyro.sample("mu", dist.Normal(0.0, 1.0))

    with pytest.raises(PairError, match="subsample_size"):
        posterior(model, guide, X, weighted=True)


def test_loo_of_weighted_draws_is_the_exact_one():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*ArviZ is undergoing", FutureWarning)
        import arviz
    x = torch.randn(30, generator=torch.Generator().manual_seed(4))
    model = GlobalMean()
    exact = model.posterior(x)
    guide = GlobalMeanGuide(float(exact.mean), 1.6 * float(exact.stddev))
    truth = sum(
        float(dist.Normal(p.mean, (p.stddev**2 + 1).sqrt()).log_prob(x[i]))
        for i in range(30)
        for p in [model.posterior(torch.cat([x[:i], x[i + 1 :]]))]
    )
    weighted = arviz.loo(posterior(model, guide, x, num_samples=4000, weighted=True))
    raw = arviz.loo(posterior(model, guide, x, num_samples=4000))
    assert abs(float(weighted.elpd_loo) - truth) < 0.06  # over seeds it varies by 0.02
    assert abs(float(raw.elpd_loo) - truth) > 0.5  # sd 1.6 times too wide costs 0.78


def rowwise(y, x):
    """A pair whose densities do not broadcast over draws, of scalar latent sites."""
    b = pyro.sample("b", dist.Normal(0.0, 3.0))
    sigma = pyro.sample("sigma", dist.HalfNormal(1.0))
    with pyro.plate("row", len(y)):
        loc = (x * b.reshape(1)).sum(-1)
        pyro.sample("y", dist.Normal(loc, sigma), obs=y)


def test_scalars_of_a_pair_that_draws_one_by_one_are_weighted_too():
    guide = AutoMultivariateNormal(rowwise, init_scale=0.3)
    x = torch.linspace(-1.0, 1.0, 5).unsqueeze(1)
    y = x.squeeze(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of k-hat, at 30 draws
        found = posterior(rowwise, guide, y, x, num_samples=30, weighted=True, max_samples=60)
    assert found["posterior"].attrs["one_by_one"]
    assert found["posterior"]["b"].shape == found["posterior"]["sigma"].shape == (1, 30)
