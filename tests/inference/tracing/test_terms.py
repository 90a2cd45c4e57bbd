"""The table of terms, and what scales mean: the same to every function that speaks of a bound."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from inference import check
from inference.diagnostics import collapse_report, importance, rates
from inference.errors import NonFiniteError, PairError
from inference.objectives import FreeBits, Objective
from inference.randomness import seeded
from inference.tracing.layout import layout
from inference.tracing.reading import read_draws, read_pair
from inference.tracing.sampler import Sampler
from inference.tracing.sum_product import log_weights
from inference.tracing.terms import Terms, rows_of, to_plate
from inference.training import fit
from tests import pairs

X = torch.linspace(-2.0, 2.0, 6, dtype=torch.float64)
CLOSE: dict[str, Any] = {"rtol": 1e-6, "atol": 1e-6}  # the bounds that Pyro has, to 1e-6


class Scaled(nn.Module):
    """z ~ N(0, 2), x ~ N(z, exp s), each with a scale of its own; the data plate may be sampled."""

    def __init__(self, latent: float = 1.0, observed: float = 1.0, some: int | None = None) -> None:
        super().__init__()
        self.latent, self.observed, self.some = latent, observed, some
        self.spread = nn.Parameter(torch.tensor(0.1, dtype=torch.float64))

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), subsample_size=self.some, dim=-1) as rows:
            with poutine.scale(scale=self.latent):
                z = pyro.sample("z", dist.Normal(0 * x[rows], 2.0))
            with poutine.scale(scale=self.observed):
                pyro.sample("x", dist.Normal(z, self.spread.exp()), obs=x[rows])


class ScaledGuide(nn.Module):
    def __init__(self, latent: float = 1.0, some: int | None = None) -> None:
        super().__init__()
        self.latent, self.some = latent, some
        self.slope = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), subsample_size=self.some, dim=-1) as rows:
            with poutine.scale(scale=self.latent):
                pyro.sample("z", dist.Normal(self.slope * x[rows], 0.6))


class ScaledSum(nn.Module):
    """A mixture whose component is summed out, it and its data in one scale."""

    def __init__(self, scale: float = 0.5, of_data: float | None = None) -> None:
        super().__init__()
        self.scale, self.of_data = scale, scale if of_data is None else of_data
        self.loc = nn.Parameter(torch.tensor([-1.0, 1.5], dtype=torch.float64))

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0 * x, 2.0))
            with poutine.scale(scale=self.scale):
                probs = torch.tensor([0.4, 0.6], dtype=x.dtype)
                w = pyro.sample("w", dist.Categorical(probs), infer={"enumerate": "parallel"})
            with poutine.scale(scale=self.of_data):
                pyro.sample("x", dist.Normal(z + self.loc[w], 0.5), obs=x)


def by_hand(model: Scaled, guide: ScaledGuide, draws: int = 1) -> tuple[Tensor, Tensor]:
    """Distortion and rate of every draw and datum, (S, B)."""
    q = dist.Normal(guide.slope * X, 0.6).expand([draws, len(X)])
    z = q.rsample()
    data = dist.Normal(z, model.spread.exp()).log_prob(X)
    rate = guide.latent * q.log_prob(z) - model.latent * dist.Normal(0 * X, 2.0).log_prob(z)
    return -model.observed * data, rate


SCALES = [(1.0, 0.5), (0.5, 1.0), (0.5, 0.25)]


@pytest.mark.parametrize(("latent", "observed"), SCALES)
@pytest.mark.parametrize("validation", [True, False])
def test_a_scale_means_the_same_to_loss_bound_and_pyro(
    latent: float, observed: float, validation: bool
) -> None:
    model, guide = Scaled(latent, observed), ScaledGuide(latent)
    for kind, elbo in (("trace", Trace_ELBO), ("meanfield", TraceMeanField_ELBO)):
        objective = Objective(kind)  # type: ignore[arg-type]
        with pyro.validation_enabled(validation):
            with seeded(1):
                expected = elbo().loss(model, guide, X) / len(X)
            with seeded(1):
                loss = objective.loss(model, guide, (X,)).item()
            with seeded(1):
                bound = objective.bound(model, guide, (X,))
        assert loss == pytest.approx(expected, rel=1e-6)
        assert -bound.mean().item() == pytest.approx(expected, rel=1e-6)
    with seeded(1):
        distortion, rate = by_hand(model, guide)
    with seeded(1):
        torch.testing.assert_close(
            Objective().bound(model, guide, (X,)), -(distortion + rate)[0].detach(), **CLOSE
        )


@pytest.mark.parametrize(("latent", "observed"), SCALES)
def test_a_scale_means_the_same_to_weights_and_rates(latent: float, observed: float) -> None:
    model, guide = Scaled(latent, observed), ScaledGuide(latent)
    with seeded(4):
        distortion, rate = (term.detach() for term in by_hand(model, guide, 30))
    # all draws come from one seed, as the engine draws them
    sampled = importance(model, guide, X, num_samples=30, seed=4)
    table = rates(model, guide, X, num_samples=30, seed=4)
    assert table["x"].nats == pytest.approx(-table.bound - table["z"].nats)
    assert table.bound == pytest.approx(sampled.elbo.mean().item(), rel=1e-6)
    plain = rates(Scaled(), ScaledGuide(), X, num_samples=30, seed=4)
    assert table["z"].nats == pytest.approx(latent * plain["z"].nats, rel=1e-6)
    assert table["x"].nats == pytest.approx(observed * plain["x"].nats, rel=1e-6)
    joint = importance(model, guide, X, num_samples=30, seed=4, joint=True)
    torch.testing.assert_close(joint.log_weights[:, 0], sampled.log_weights.sum(1))
    # 30 draws of 6 data, of another generator state: equal within errors of the mean
    error = (distortion + rate).mean(1).std().item() / 30**0.5
    assert table.bound == pytest.approx(-(distortion + rate).mean().item(), abs=6 * error)


@pytest.mark.parametrize(("latent", "observed"), SCALES)
def test_a_scale_means_the_same_to_shaped_losses(latent: float, observed: float) -> None:
    model, guide = Scaled(latent, observed), ScaledGuide(latent)
    for objective in (
        Objective("trace", free_bits=FreeBits(0.0)),
        Objective("iwae"),
        Objective("renyi", alpha=1.0),
    ):
        with seeded(1):
            loss = objective.loss(model, guide, (X,))
        with seeded(1):
            distortion, rate = by_hand(model, guide)
        if objective.free_bits is not None:  # a rate in parts is a closed form
            q = dist.Normal(guide.slope * X, 0.6)
            rate = latent * torch.distributions.kl_divergence(q, dist.Normal(0 * X, 2.0))[None]
        torch.testing.assert_close(loss, (distortion + rate).mean(), **CLOSE)


def test_a_scale_means_the_same_to_check_and_fit() -> None:
    model, guide = Scaled(0.5, 0.25), ScaledGuide(0.5)
    with seeded(0):
        expected = -Trace_ELBO().loss(model, guide, X) / len(X)
    assert check(model, guide, X).bound == pytest.approx(expected, rel=1e-6)
    run = fit(model, guide, X, epochs=1, learning_rate=1e-12, progress=False, batch_size=6)
    many = [Objective().bound(model, guide, (X,)).mean().item() for _ in range(200)]
    spread = torch.tensor(many).std().item()
    # the fit's figure is of one draw
    assert run.history[0]["bound"] == pytest.approx(sum(many) / 200, abs=4 * spread)


def test_the_scale_of_a_plate_that_samples_itself_is_taken_out_of_a_datum_s_figures() -> None:
    model, guide = Scaled(0.5, 0.25, some=4), ScaledGuide(0.5, some=4)
    with seeded(1):
        expected = -Trace_ELBO().loss(model, guide, X) / len(X)  # 6 / 4 of 4 data, over 6
    with seeded(1):
        bound = Objective().bound(model, guide, (X,))
    assert bound.shape == (4,) and bound.mean().item() == pytest.approx(expected, rel=1e-6)
    with seeded(1):
        assert Objective().loss(model, guide, (X,)).item() == pytest.approx(-expected, rel=1e-6)
    with seeded(1):
        terms = read_pair(model, guide, (X,), {}, layout(model, guide, (X,)))
    weights = terms.observed() - terms.log_ratio()  # type: ignore[operator]
    torch.testing.assert_close(weights.detach(), bound, **CLOSE)


def test_a_scale_means_the_same_where_sites_are_summed_out() -> None:
    model, guide = ScaledSum(), ScaledGuide()
    with seeded(1):
        expected = -TraceEnum_ELBO(max_plate_nesting=1).loss(model, guide, X) / len(X)
    with seeded(1):
        bound = Objective().bound(model, guide, (X,))
    assert bound.mean().item() == pytest.approx(expected, rel=1e-6)
    with seeded(1):
        z = dist.Normal(guide.slope * X, 0.6).rsample()
    parts = torch.tensor([0.4, 0.6], dtype=X.dtype).log() + dist.Normal(
        z[:, None] + model.loc, 0.5
    ).log_prob(X[:, None])
    ratio = dist.Normal(guide.slope * X, 0.6).log_prob(z) - dist.Normal(0 * X, 2.0).log_prob(z)
    torch.testing.assert_close(bound, (0.5 * parts.logsumexp(-1) - ratio).detach(), **CLOSE)
    with torch.no_grad(), seeded(1):
        sampler = Sampler(model, guide, (X,), {}, vectorised=False)
    with torch.no_grad(), seeded(1):
        weights = log_weights(sampler.traces(None, "summed").terms(sampler.plate))
    torch.testing.assert_close(weights[0], bound, **CLOSE)
    with seeded(1):
        loss = Objective("iwae").loss(model, guide, (X,)).item()
    assert loss == pytest.approx(-expected, rel=1e-6)
    table = rates(model, guide, X, num_samples=20)
    weighed = importance(model, guide, X, num_samples=20)
    assert table.bound == pytest.approx(weighed.elbo.mean().item(), rel=1e-6)
    assert table["w"].nats > 0 and check(model, guide, X).bound < 0


def test_sites_summed_together_have_one_scale() -> None:
    pair = ScaledSum(0.5, of_data=1.0), ScaledGuide()
    with pytest.raises(ValueError, match="common poutine.scale"):
        TraceEnum_ELBO(max_plate_nesting=1).loss(*pair, X)
    for ask in (importance, rates):
        with pytest.raises(PairError, match="one poutine.scale") as caught:
            ask(*pair, X, num_samples=3)
        assert caught.value.site == "w"


def test_a_row_says_what_its_site_is() -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> None:
            pyro.factor("tax", -x.sum())
            with pyro.plate("data", len(x), dim=-1):
                w = pyro.sample("w", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})
                z = pyro.sample("z", dist.Normal(w, 1.0))
                pyro.deterministic("twice", 2 * z)
                with poutine.scale(scale=0.5), poutine.mask(mask=x > 0):
                    pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    class Guide(nn.Module):
        def forward(self, x: Tensor) -> None:
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("e", dist.Normal(0 * x, 1.0), infer={"is_auxiliary": True})
                pyro.sample("z", dist.Normal(x, 1.0))

    with pyro.validation_enabled(False):
        terms = read_pair(Model(), Guide(), (X,), {}, layout(Model(), Guide(), (X,)))
    assert {row.name: row.kind for row in terms.rows} == {
        "tax": "observed",
        "w": "enumerated",
        "z": "latent",
        "twice": "deterministic",
        "x": "observed",
        "e": "latent",
    }
    row = next(row for row in terms.rows if row.name == "x")
    assert row.scale == 0.5 and torch.equal(row.mask, X > 0)
    assert [frame.name for frame in row.plates] == ["data"]
    own = terms.rows[-1]
    assert own.p is None and own.site is own.q
    with torch.no_grad():
        sampler = Sampler(Model(), Guide(), (X,), {}, "data")
        table = sampler.traces(3, "summed").terms(sampler.plate)
    assert set(table.summed) == {"w", "z"} and set(table.dense) == {"x", "tax"}


def test_terms_of_several_draws_are_those_of_each() -> None:
    model, guide = Scaled(0.5, 0.25), ScaledGuide(0.5)
    with seeded(2):
        terms = read_draws(model, guide, (X,), {}, "data", 5, 1)
    with seeded(2):
        distortion, rate = by_hand(model, guide, 5)
    torch.testing.assert_close(terms.observed(), -distortion, **CLOSE)
    torch.testing.assert_close(terms.log_ratio(), rate, **CLOSE)


def test_a_term_is_summed_to_draws_and_data() -> None:
    def model() -> None:
        with pyro.plate("data", 4, dim=-2), pyro.plate("frames", 3, dim=-1):
            pyro.sample("x", dist.Normal(torch.zeros(()), 1.0))

    site: Any = poutine.trace(model).get_trace().nodes["x"]
    values = torch.arange(12.0).reshape(4, 3)
    assert torch.equal(to_plate(values, site, "data"), values.sum(1))
    assert torch.equal(to_plate(values, site, "frames"), values.sum(0))
    assert torch.equal(to_plate(values, site, None), values.sum())
    assert torch.equal(to_plate(values, site, "elsewhere"), values.sum())
    draws = torch.stack([values, 2 * values])
    assert torch.equal(to_plate(draws, site, "data", 2, 2), draws.sum(2))
    assert torch.equal(to_plate(draws, site, None, 2, 2), draws.sum((1, 2)))
    assert torch.equal(to_plate(values, site, "data", 2, 2), values.sum(1).expand(2, 4))


def test_a_site_outside_the_data_plate_has_no_term_of_a_datum() -> None:
    model, guide = pairs.GlobalMean(), pairs.GlobalMeanGuide()
    x = torch.randn(4)
    q, p = (
        {n: s for n, s in trace.nodes.items() if s["type"] == "sample"}
        for trace in (poutine.trace(guide).get_trace(x), poutine.trace(model).get_trace(x))
    )
    terms = Terms(tuple(rows_of(q, p)), "data")
    with pytest.raises(PairError, match="outside the data plate 'data'"):
        terms.log_ratio()
    assert terms.observed().shape == (4,)


def test_terms_that_are_judged_are_finite() -> None:
    model = Scaled()
    model.spread.data.fill_(float("nan"))
    with torch.no_grad(), pyro.validation_enabled(False):
        sampler = Sampler(model, ScaledGuide(), (X,), {}, vectorised=False)
        terms = sampler.traces(None).terms(sampler.plate)
        with pytest.raises(NonFiniteError) as caught:
            log_weights(terms)
    assert caught.value.site == "x"


def test_a_scale_means_the_same_to_units() -> None:
    x = torch.randn(40, 4)
    model, guide = pairs.Amortised(), pairs.AmortisedGuide()
    halved = [Halved(part) for part in (model, guide)]
    plain, scaled = (
        collapse_report(*pair, x, num_samples=5, num_particles=5, steps=2)
        for pair in ((model, guide), halved)
    )
    assert scaled.rates["z"].nats == pytest.approx(0.5 * plain.rates["z"].nats, rel=1e-5)
    for one, other in zip(plain.sites[0].units, scaled.sites[0].units, strict=True):
        assert one.rate is not None and other.rate == pytest.approx(0.5 * one.rate, rel=1e-5)
    # the information is that of the distribution, which has no scale
    assert scaled.information.nats == pytest.approx(plain.information.nats, rel=1e-5)
    assert scaled.information.rate == pytest.approx(plain.information.rate, rel=1e-5)


class Halved(nn.Module):
    """A model or guide whose latent sites have scale 0.5."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> None:
        with HalfLatent():
            self.inner(x)


class HalfLatent(Messenger):
    def _pyro_sample(self, msg: Any) -> None:
        if not msg["is_observed"]:
            msg["scale"] = msg["scale"] * 0.5
