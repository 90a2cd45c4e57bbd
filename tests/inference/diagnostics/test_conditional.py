from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from inference.diagnostics.conditional import conditional_likelihood
from inference.errors import PairError
from tests.modalities import ALL, WIDTHS, evidence, exact_pair, simulated
from tests.pairs import GlobalMean

GIVEN = torch.tensor([True, False, True])  # of sight, sound and touch


def exact_conditional() -> tuple[object, object, dict[str, Tensor], Tensor]:
    model, guide = exact_pair()
    data = simulated(model, 15)
    return model, guide, data, (evidence(model, data, ALL) - evidence(model, data, GIVEN)).detach()


def test_one_linear_gaussian_modality_given_others_is_the_exact_number():
    model, guide, data, exact = exact_conditional()
    observed = GIVEN.expand(15, 3)
    found = conditional_likelihood(
        model, guide, **data, observed=observed, target="sound", num_samples=8000
    )
    # weights are constant, since the guide is the posterior of what is given
    assert float(found.log_weights.std(0).max()) < 1e-6
    assert ((found.pointwise - exact).abs() < 4.5 * found.error).all()
    assert float(found.error.max()) < 0.05
    assert found.negative[0] == pytest.approx(-float(exact.mean()), abs=0.02)


def test_a_guide_that_reads_the_target_too_comes_to_the_same():
    model, guide, data, exact = exact_conditional()
    found = conditional_likelihood(model, guide, **data, target="sound", num_samples=20_000)
    good = found.khat < 0.7
    assert int(good.sum()) >= 8  # draws are narrower than the posterior that they must stand for
    assert (found.pointwise - exact)[good].abs().max() < 0.15


def test_several_targets_are_taken_together():
    model, guide, data, _ = exact_conditional()
    alone = torch.tensor([True, False, False])
    exact = (evidence(model, data, ALL) - evidence(model, data, alone)).detach()
    found = conditional_likelihood(
        model,
        guide,
        **data,
        observed=alone.expand(15, 3),
        target=("sound", "touch"),
        num_samples=20_000,
    )
    assert (found.pointwise - exact).abs().max() < 0.15
    assert "sound, touch | the rest" in str(found)


def test_two_groups_of_data_with_a_common_mean_by_a_joint_weight():
    def model(a, b):
        mu = pyro.sample("mu", dist.Normal(0.0, 3.0))
        with pyro.plate("first", len(a)):
            pyro.sample("a", dist.Normal(mu, 1.0), obs=a)
        with pyro.plate("second", len(b)):
            pyro.sample("b", dist.Normal(mu, 1.0), obs=b)

    a, b = torch.tensor([0.2, 1.0]), torch.tensor([0.5, 0.1, -0.4])
    exact = GlobalMean().posterior(b)
    loc, scale = exact.mean.detach(), 1.3 * exact.stddev.detach()

    def guide(a, b):
        pyro.sample("mu", dist.Normal(loc, scale))

    found = conditional_likelihood(model, guide, a, b, target="a", num_samples=20_000, joint=True)
    whole = GlobalMean().evidence(torch.cat([a, b])) - GlobalMean().evidence(b)
    assert float(found.pointwise) == pytest.approx(float(whole), abs=4.5 * float(found.error))
    assert float(found.error) < 0.01 and "in all" in str(found)


def test_the_error_is_the_spread_over_seeds():
    model, guide, data, _ = exact_conditional()
    given = GIVEN.expand(3, 3)
    few = {name: x[:3] for name, x in data.items()}
    found = [
        conditional_likelihood(
            model,
            guide,
            **few,
            observed=given,
            target="sound",
            num_samples=400,
            seed=seed,
        )
        for seed in range(40)
    ]
    spread = torch.stack([f.pointwise for f in found]).std(0)
    said = torch.stack([f.error for f in found]).mean(0)
    assert ((spread / said - 1).abs() < 0.4).all()  # 40 seeds: 11 % each


def test_a_target_that_is_enumerated_over_is_summed():
    def model(x, y):
        with pyro.plate("data", len(x)):
            w = pyro.sample("w", dist.Bernoulli(0.3), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(2 * w, 1.0), obs=x)
            pyro.sample("y", dist.Normal(-w, 1.0), obs=y)

    x, y = torch.tensor([0.1, 2.0]), torch.tensor([0.3, -1.5])
    found = conditional_likelihood(model, lambda x, y: None, x, y, target="y", num_samples=2)
    prior = torch.tensor([0.7, 0.3]).log()
    given = prior + dist.Normal(torch.tensor([0.0, 2.0]), 1.0).log_prob(x[:, None])
    both = given + dist.Normal(torch.tensor([0.0, -1.0]), 1.0).log_prob(y[:, None])
    exact = both.logsumexp(1) - given.logsumexp(1)
    assert torch.allclose(found.pointwise.float(), exact, atol=1e-5)
    assert math.isclose(float(found.error.max()), 0.0, abs_tol=1e-9)


def test_a_target_that_is_not_observed_is_refused():
    model, guide, data, _ = exact_conditional()
    with pytest.raises(PairError, match="target='sight'"):
        conditional_likelihood(model, guide, **data, target="z", num_samples=5)
    assert tuple(WIDTHS)[0] == "sight"
