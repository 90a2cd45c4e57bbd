from __future__ import annotations

from contextlib import ExitStack

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoMultivariateNormal, AutoNormal
from pyro.nn import PyroModule, PyroSample
from torch import nn

from inference.diagnostics.importance import importance
from inference.tracing.bind import bind
from inference.tracing.sampler import Sampler, mean_and_error, quiet, sampling
from inference.tracing.sites import node
from inference.tracing.sum_product import log_weights
from tests.inference.diagnostics.odd_pairs import (
    Sequence,
    SequenceGuide,
    Tracks,
    TracksGuide,
)
from tests.pairs import (
    Amortised,
    AmortisedGuide,
    Conjugate,
    ConjugateGuide,
    GlobalMean,
    GlobalMeanGuide,
    MixturePrior,
)

X = torch.tensor([0.5, -1.0, 2.0, 0.1])


def sampler_of(model, guide, *data, **options):
    model, guide = bind(model, guide, *data)
    return Sampler(model, guide, data, {}, **options)


BROADCASTING = {
    "local": lambda: (Conjugate(), ConjugateGuide(), X),
    "event": lambda: (Amortised(), AmortisedGuide(), torch.randn(3, 4)),
    "global": lambda: (GlobalMean(), GlobalMeanGuide(), X),
    "enumerated": lambda: (MixturePrior(), ConjugateGuide(), X),
    "sequence": lambda: (
        Sequence(),
        SequenceGuide(),
        torch.randn(3, 5, 2),
        torch.arange(5) < torch.tensor([[5], [3], [1]]),
    ),
    "plates": lambda: (Tracks(), TracksGuide(), torch.randn(3, 4, 2)),
}


@pytest.mark.parametrize("name", BROADCASTING)
def test_draws_made_at_once_weigh_the_same_as_the_same_draws_one_by_one(name):
    model, guide, *data = BROADCASTING[name]()
    with torch.no_grad():
        sampler = sampler_of(model, guide, *data)
        assert sampler.vectorised, sampler.reason
        traces = sampler.traces(5, "summed")
        plate = None if name == "global" else sampler.plate
        together = log_weights(traces.terms(plate))
        for s in range(5):
            values = {
                n: traces.guide_places[n]
                .value(node(traces.guide, n)["value"], 5)[s]
                .reshape(place.shape)
                for n, place in traces.guide_places.items()
            }
            fixed = poutine.condition(guide, data=values)
            single = sampler_of(model, Replay(fixed, values), *data, vectorised=False)
            alone = log_weights(single.traces(None, "summed").terms(plate))
            # float32 sums of some tens of terms
            assert torch.allclose(together[s], alone[0], rtol=1e-5, atol=1e-4)


class Replay(nn.Module):
    """Draws the given values again: a Delta with the guide's log density."""

    def __init__(self, guide, values):
        super().__init__()
        self.guide, self.values = guide, values

    def forward(self, *data):
        with poutine.block():
            trace = poutine.trace(self.guide).get_trace(*data)
        for name in self.values:
            site = node(trace, name)
            frames = [f for f in site["cond_indep_stack"]]
            density = site["fn"].log_prob(site["value"])
            fn = dist.Delta(site["value"], density, event_dim=site["fn"].event_dim)
            with ExitStack() as stack:
                for f in frames:
                    stack.enter_context(pyro.plate(f.name, f.size, dim=f.dim))
                pyro.sample(name, fn)


@pytest.mark.parametrize("name", ["local", "enumerated"])
def test_one_by_one_draws_follow_the_same_distribution(name):
    model, guide, *data = BROADCASTING[name]()
    with torch.no_grad():
        fast = sampler_of(model, guide, *data)
        slow = sampler_of(model, guide, *data, vectorised=False)
        a = torch.cat([log_weights(t.terms(fast.plate)) for t in fast.chunks(4000, "summed")])
        b = torch.cat([log_weights(t.terms(slow.plate)) for t in slow.chunks(400, "summed")])
    error = (a.var(0) / len(a) + b.var(0) / len(b)).sqrt()
    assert ((a.mean(0) - b.mean(0)).abs() < 4.5 * error).all()  # of 4 data: 1 in 40,000 by chance


def test_draws_come_in_chunks_that_add_up_and_agree():
    sampler = sampler_of(Conjugate(), ConjugateGuide(), X)
    assert [t.size for t in sampler.chunks(10, chunk=4)] == [4, 4, 2]
    assert [t.size for t in sampler.chunks(3)] == [3]
    small = importance(Conjugate(), ConjugateGuide(), X, num_samples=1001, chunk=1)
    large = importance(Conjugate(), ConjugateGuide(), X, num_samples=1001)
    assert small.log_weights.shape == large.log_weights.shape == (1001, 4)
    error = (small.log_weights.var(0) * 2 / 1001).sqrt()
    assert ((small.elbo - large.elbo).abs() < 4.5 * error).all()


def test_the_default_chunk_bounds_the_memory():
    sampler = sampler_of(Amortised(), AmortisedGuide(), torch.randn(50_000, 4))
    sizes = [t.size for t in sampler.chunks(20)]
    assert sum(sizes) == 20 and max(sizes) * 50_000 * 8 <= 4_000_000


def test_no_draws_are_refused():
    with pytest.raises(ValueError, match="num_samples: saw 0"):
        list(sampler_of(Conjugate(), ConjugateGuide(), X).chunks(0))


@pytest.mark.usefixtures("untouched")
def test_nothing_is_left_changed():
    model, guide = Conjugate(), nn.Sequential(ConjugateGuide())
    guide[0].extra = nn.BatchNorm1d(2)
    guide[0].extra.eval()
    importance(model, guide, X, num_samples=10)
    assert model.training and guide.training and not guide[0].extra.training
    assert all(p.grad is None for p in (*model.parameters(), *guide.parameters()))


def test_the_pair_is_judged_in_evaluation_mode():
    class Dropping(ConjugateGuide):
        def forward(self, x, size=1):
            super().forward(torch.nn.functional.dropout(x, 0.9, self.training))

    a = importance(Conjugate(), Dropping(), X, num_samples=50)
    b = importance(Conjugate(), ConjugateGuide(), X, num_samples=50)
    assert torch.equal(a.log_weights, b.log_weights)


def test_the_seed_decides_the_draws():
    a, b, c = (
        importance(Conjugate(), ConjugateGuide(), X, num_samples=5, seed=s) for s in (1, 1, 2)
    )
    assert torch.equal(a.log_weights, b.log_weights)
    assert not torch.equal(a.log_weights, c.log_weights)


@pytest.mark.parametrize("autoguide", [AutoNormal, AutoMultivariateNormal])
def test_autoguides_are_drawn_at_once(autoguide):
    model = GlobalMean()
    guide = autoguide(model)
    with torch.no_grad():
        sampler = sampler_of(model, guide, X)
        assert sampler.vectorised, sampler.reason
        value = sampler.traces(50).value("mu")
    assert value.shape == (50,) and value.std() > 0


def test_a_guide_that_wraps_the_model_is_drawn_one_by_one():
    from pyro.infer.autoguide import AutoNormalMessenger

    model = GlobalMean()
    result = importance(model, AutoNormalMessenger(model), X, num_samples=40, joint=True)
    assert result.log_weights.shape == (40, 1) and result.log_weights.std() > 0


def test_a_network_with_random_weights_falls_back_where_it_cannot_broadcast():
    class Regression(PyroModule):
        def __init__(self):
            super().__init__()
            self.net = PyroModule[nn.Linear](1, 1)
            self.net.weight = PyroSample(dist.Normal(torch.zeros(1, 1), 1.0).to_event(2))

        def forward(self, x, y):
            loc = self.net(x).squeeze(-1)
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("y", dist.Normal(loc, 0.5), obs=y)

    model = Regression()
    x = torch.randn(5, 1)
    result = importance(model, AutoNormal(model), x, 2 * x[:, 0], num_samples=30, joint=True)
    assert result.log_weights.shape == (30, 1) and result.log_weights.std() > 0


def test_predictions_are_drawn_from_the_latents_of_the_same_draw():
    sampler = sampler_of(Conjugate(), ConjugateGuide(), X)
    with torch.no_grad(), quiet(sampler.model, sampler.guide, 0):
        traces = sampler.traces(4000)
        noise = sampler.predict(traces)["x"] - traces.value("z")
    # sd of x given z is 0.5; its standard error over 16,000 draws is 0.003
    assert abs(float(noise.std()) - 0.5) < 0.015


def test_mean_and_error():
    mean, error = mean_and_error(torch.tensor([1.0, 3.0]))
    assert (mean, error) == (2.0, 1.0)
    assert str(mean_and_error(torch.tensor([1.0]))[1]) == "nan"


def test_what_is_observed_is_laid_out_with_its_mask():
    def model(x, mask):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0).mask(mask), obs=x)

    def guide(x, mask):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x, 1.0))

    mask = torch.tensor([True, False, True, True])
    with sampling(model, guide, (X, mask), {}, seed=0) as sampler:
        assert not torch.is_grad_enabled() and sampler.observed == ["x"]
        assert torch.equal(sampler.data("x"), X)
        found = sampler.mask("x")
        assert found is not None and torch.equal(found, mask)
        assert sampler.mask("z") is None
    assert torch.is_grad_enabled()
