from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch

from inference.errors import PairError
from inference.tracing import Potential, bind, lent_potential
from tests.pairs import GlobalMean, GlobalMeanGuide

X = torch.tensor([0.2, 1.0, -0.5])


def scales(x):
    s = pyro.sample("s", dist.LogNormal(0.0, 1.0))
    b = pyro.sample("b", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with pyro.plate("data", len(x)):
        w = pyro.sample("w", dist.Bernoulli(0.3), infer={"enumerate": "parallel"})
        pyro.sample("x", dist.Normal(b.sum(-1) + w, s), obs=x)


def test_the_potential_is_the_negative_log_joint_with_its_jacobian_and_its_sums():
    model, _ = bind(scales, lambda x: None, X)
    with lent_potential(model, (X,), {}, 1) as potential:
        assert potential.dtype == torch.double and potential.size == 3
        at = {"s": torch.tensor(0.4).double(), "b": torch.tensor([0.3, -1.0]).double()}
        energy, slope = potential.gradient(potential.flat(at))
    s, b = at["s"].exp(), at["b"]
    x = X.double()
    parts = torch.stack(
        [
            dist.Normal(b.sum(), s).log_prob(x) + torch.tensor(0.7).double().log(),
            dist.Normal(b.sum() + 1, s).log_prob(x) + torch.tensor(0.3).double().log(),
        ]
    )
    exact = parts.logsumexp(0).sum() + dist.LogNormal(0.0, 1.0).log_prob(s) + at["s"]
    exact = exact + dist.Normal(0.0, 1.0).log_prob(b).sum()
    assert float(energy) == pytest.approx(-float(exact), rel=1e-6)
    assert slope.shape == (3,) and bool(slope.isfinite().all())
    assert torch.get_default_dtype() == torch.float32


def test_vectors_and_values_by_site_are_two_forms_of_one_thing():
    model, _ = bind(scales, lambda x: None, X)
    potential = Potential(model, (X,), {}, 1)
    vectors = torch.randn(5, 3)
    values = potential.constrained(potential.split(vectors))
    assert (values["s"] > 0).all() and values["b"].shape == (5, 2)
    assert torch.allclose(potential.flat(potential.unconstrained(values)), vectors, atol=1e-5)


def test_a_model_of_data_alone_has_no_potential():
    model, _ = bind(GlobalMean(), GlobalMeanGuide(), X)

    def nothing(x):
        pyro.sample("x", dist.Normal(0.0, 1.0), obs=x.sum())

    empty, _ = bind(nothing, lambda x: None, X)
    with pytest.raises(PairError, match="continuous"):
        Potential(empty, (X,), {}, 0)
    assert Potential(model, (X,), {}, 1).size == 1
