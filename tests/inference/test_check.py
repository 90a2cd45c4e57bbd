"""Each mistake is made on purpose, and the error names its site and its cure."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal, AutoNormalMessenger
from pyro.nn import PyroModule, PyroParam
from torch import nn
from torch.distributions import constraints

from inference import check
from inference.errors import NonFiniteError, PairError
from inference.randomness import seeded
from ppl_models.errors import InputError
from tests import pairs

PARALLEL = {"enumerate": "parallel"}
X = torch.tensor([0.5, -1.0, 2.0, 0.1, -0.3])


def wrong(model: Callable, guide: Callable, *args: object, **kwargs: object) -> PairError:
    """The error that check raises; it says four things."""
    with pytest.raises(PairError) as caught:
        check(model, guide, *args, **kwargs)
    error = caught.value
    assert error.seen and error.expected and error.cure
    assert len(str(error).splitlines()) == 4
    return error


def no_guide(x: torch.Tensor) -> None:
    pass


def conjugate(x: torch.Tensor) -> None:
    with pyro.plate("data", len(x), dim=-1):
        z = pyro.sample("z", dist.Normal(0.0, 2.0))
        pyro.sample("x", dist.Normal(z, 0.5), obs=x)


def conjugate_guide(x: torch.Tensor) -> None:
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("z", dist.Normal(0.5 * x, 0.5))


GOOD = [
    (pairs.Conjugate, pairs.ConjugateGuide),
    (pairs.GlobalMean, pairs.GlobalMeanGuide),
    (pairs.TwoComponents, pairs.NoLatents),
    (pairs.MixturePrior, pairs.ConjugateGuide),
    (lambda: pairs.function_model, lambda: pairs.function_guide),
    (lambda: conjugate, lambda: conjugate_guide),
]


@pytest.mark.parametrize(("model", "guide"), GOOD)
def test_good_pairs_pass(model: Callable, guide: Callable, untouched: None) -> None:
    report = check(model(), guide(), X)
    assert report.plate == "data" and report.max_plate_nesting == 1 and not report.notes
    assert math.isfinite(report.bound)
    assert str(report).startswith("site")


def test_the_table() -> None:
    report = check(pairs.MixturePrior(), pairs.ConjugateGuide(), X)
    w, z, x = report.sites
    assert (w.name, w.kind, w.enumerated, w.distribution) == (
        "w",
        "enumerated",
        True,
        "Categorical",
    )
    assert (z.kind, z.plates, z.batch_shape, z.event_shape) == ("latent", ("data",), (5,), ())
    assert z.distribution == "Normal, guide Normal"
    assert z.parameters == ("model.loc", "guide.slope", "guide.log_scale")
    assert w.parameters == ("model.logits",)
    assert (x.kind, x.parameters, x.enumerated) == ("observed", (), False)
    lines = str(report).splitlines()
    assert lines[0].split() == "site kind distribution plates batch event parameters".split()
    assert len(lines) == 6 and "nats per observation (data plate 'data')" in lines[-1]


def test_the_table_abbreviates_parameters() -> None:
    with seeded(0):
        model, guide = pairs.Amortised(), pairs.AmortisedGuide()
    report = check(model, guide, torch.ones(3, 4))
    assert report.sites[1].parameters == ("model.decoder.weight", "model.decoder.bias")
    assert "model.decoder (2)" in str(report)


def test_the_bound_is_the_evidence_of_an_exact_pair() -> None:
    model, guide = pairs.Conjugate(), pairs.ConjugateGuide(exact=True)
    assert check(model, guide, X).bound == pytest.approx(model.evidence(X).mean().item(), abs=1e-5)


def test_kinds_of_sites() -> None:
    def model(x: torch.Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        twice = pyro.deterministic("twice", 2 * mu)
        pyro.factor("penalty", -(mu**2))
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(twice, 1.0), obs=x)

    def guide(x: torch.Tensor) -> None:
        noise = pyro.sample("noise", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})
        pyro.sample("mu", dist.Delta(noise, log_density=torch.tensor(0.0)))

    kinds = {row.name: row.kind for row in check(model, guide, X).sites}
    assert kinds == {
        "mu": "latent",
        "twice": "deterministic",
        "penalty": "factor",
        "x": "observed",
        "noise": "auxiliary",
    }


@pytest.mark.parametrize("auto", [AutoNormal, AutoNormalMessenger])
def test_autoguides_pass(auto: type, untouched: None) -> None:
    model = pairs.GlobalMean()
    report = check(model, auto(model), X)
    assert report.sites[0].kind == "latent"
    assert any(name[:6] == "guide." for row in report.sites for name in row.parameters)


def test_pyro_modules_pass(untouched: None) -> None:
    class Guide(PyroModule):
        def __init__(self) -> None:
            super().__init__()
            self.scale = PyroParam(torch.tensor(0.5), constraint=constraints.positive)

        def forward(self, x: torch.Tensor) -> None:
            pyro.sample("mu", dist.Normal(0.0, self.scale))

    report = check(pairs.GlobalMean(), Guide(), X)
    assert report.sites[0].parameters == ("guide.scale_unconstrained",)


def test_the_graph(tmp_path: object) -> None:
    report = check(pairs.TwoComponents(), pairs.NoLatents(), X)
    path = tmp_path / "graph.gv"
    graph = report.render(path)
    assert "w -> x" in path.read_text() and graph.source == path.read_text()


# 1 to 5: the guide against the model


def test_guide_misses_a_site() -> None:
    error = wrong(conjugate, no_guide, X)
    assert error.site == "z" and "does not sample" in error.seen and "'z'" in error.cure


def test_guide_adds_a_site() -> None:
    def guide(x: torch.Tensor) -> None:
        conjugate_guide(x)
        pyro.sample("extra", dist.Normal(0.0, 1.0))

    error = wrong(conjugate, guide, X)
    assert error.site == "extra" and "does not have" in error.seen and "z" in error.expected


def test_guide_samples_what_the_model_observes() -> None:
    def guide(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(0.5 * x, 0.5))
            pyro.sample("x", dist.Normal(0.0, 1.0))

    error = wrong(conjugate, guide, X)
    assert error.site == "x" and "the model observes" in error.seen


def test_event_shapes_differ() -> None:
    def model(x: torch.Tensor) -> None:
        z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(z.sum(), 1.0), obs=x)

    def guide(x: torch.Tensor) -> None:
        pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))

    error = wrong(model, guide, X)
    assert error.site == "z" and "(2,)" in error.seen and "(3,)" in error.expected


def test_batch_shapes_differ() -> None:
    def model(x: torch.Tensor) -> None:
        data = pyro.plate("data", len(x), dim=-1)
        with pyro.plate("k", 3, dim=-2), data:
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
        with data:
            pyro.sample("x", dist.Normal(z.sum(0), 1.0), obs=x)

    def guide(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(torch.zeros(5), 1.0))

    error = wrong(model, guide, X)
    assert error.site == "z" and "k(dim=-2, size=3)" in error.cure


def test_plates_differ() -> None:
    def guide(x: torch.Tensor) -> None:
        with pyro.plate("rows", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x, 1.0))

    error = wrong(conjugate, guide, X)
    assert error.site == "z"
    assert "rows(dim=-1, size=5) in the guide, data(dim=-1, size=5) in the model" in error.seen


def test_a_discrete_site_that_is_nowhere() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            w = pyro.sample("w", dist.Categorical(torch.ones(2)))
            pyro.sample("x", dist.Normal(torch.tensor([-1.0, 1.0])[w], 1.0), obs=x)

    error = wrong(model, no_guide, X)
    assert error.site == "w" and "neither enumerated nor in the guide" in error.seen
    assert "'enumerate': 'parallel'" in error.cure


@pytest.mark.parametrize(
    ("site", "infer", "seen"),
    [
        (dist.Categorical(torch.ones(2)), {"enumerate": "sequential"}, "sequential"),
        (dist.Poisson(2.0), PARALLEL, "marked for enumeration"),
        (dist.Poisson(2.0), {}, "does not sample"),
    ],
)
def test_sites_that_cannot_be_enumerated(site: object, infer: dict, seen: str) -> None:
    def model(x: torch.Tensor) -> None:
        w = pyro.sample("w", site, infer=infer)
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(1.0 * w, 1.0), obs=x)

    error = wrong(model, no_guide, X)
    assert error.site == "w" and seen in error.seen


# 6 and 7, 12: plates


def test_plate_dims_collide() -> None:
    def model(x: torch.Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", 5, dim=-1), pyro.plate("columns", 3, dim=-1):
            pyro.sample("x", dist.Normal(mu, 1.0), obs=x)

    def guide(x: torch.Tensor) -> None:
        pyro.sample("mu", dist.Normal(0.0, 1.0))

    error = wrong(model, guide, torch.zeros(5, 3))
    assert "collide at dim=-1" in error.seen and "rows" in error.seen and "dim=" in error.cure
    assert check(conjugate, conjugate_guide, X).sites  # and Pyro's plates are in order again


def test_a_plate_inside_itself() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("data", 5, dim=-1), pyro.plate("data", 5, dim=-2):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    error = wrong(model, no_guide, X)
    assert error.site == "data" and "made once" in error.cure


def test_a_plate_entered_twice_at_once() -> None:
    def model(x: torch.Tensor) -> None:
        data = pyro.plate("data", 5, dim=-1)
        with data, pyro.plate("other", 2, dim=-2):
            with pyro.poutine.indep_messenger.IndepMessenger("data", 5, dim=-3):
                pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    error = wrong(model, no_guide, X)
    assert "duplicate plate 'data'" in error.seen and "a name of its own" in error.cure


def test_max_plate_nesting_too_small() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("clips", 2, dim=-2), pyro.plate("detections", 5, dim=-1):
            w = pyro.sample("w", dist.Categorical(torch.ones(2)), infer=PARALLEL)
            pyro.sample("x", dist.Normal(torch.tensor([-1.0, 1.0])[w], 1.0), obs=x)

    x = torch.zeros(2, 5)
    error = wrong(model, no_guide, x, max_plate_nesting=1)
    assert error.site == "w" and "dim -2" in error.seen and "at least 2" in error.expected
    assert check(model, no_guide, x, max_plate_nesting=2).max_plate_nesting == 2


def test_an_enumerated_value_indexed_in_the_wrong_way() -> None:
    # right for one w a datum; when w is enumerated it has shape (2, 1), and this pairs it wrongly
    def model(x: torch.Tensor) -> None:
        loc = torch.zeros(5, 2)
        with pyro.plate("data", len(x), dim=-1):
            w = pyro.sample("w", dist.Categorical(torch.ones(2)), infer=PARALLEL)
            mine = loc.gather(1, w[:, None])[:, 0]
            pyro.sample("x", dist.Normal(mine, 1.0), obs=x)

    error = wrong(model, no_guide, X)
    assert "Pyro's validation" in error.seen and "Vindex" in error.cure


def test_undeclared_batch_dims() -> None:
    def model(x: torch.Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(torch.zeros(3), 1.0))
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(mu.sum(), 1.0), obs=x)

    def guide(x: torch.Tensor) -> None:
        pyro.sample("mu", dist.Normal(torch.zeros(3), 1.0))

    error = wrong(model, guide, X)
    assert error.site == "mu" and "batch shape (3,)" in error.seen
    assert ".to_event(1)" in error.cure and "pyro.plate" in error.cure


def test_undeclared_batch_dims_of_the_data() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    error = wrong(model, no_guide, torch.zeros(5, 4))
    assert error.site == "x" and "data of shape (5, 4)" in error.seen


def test_an_event_where_a_plate_expects_a_batch() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(torch.zeros(5, 4), 1.0), obs=x)

    error = wrong(model, no_guide, torch.zeros(5, 4))
    assert error.site == "x" and "Shape mismatch" in error.seen and ".to_event" in error.cure


def test_data_of_the_wrong_event_shape() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(torch.zeros(3), 1.0).to_event(1), obs=x)

    error = wrong(model, no_guide, torch.zeros(5, 4))
    assert error.site == "x" and "(5, 4)" in error.seen and "(3,)" in error.seen


# 8 and 11: densities


def test_a_non_finite_density_of_the_model() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 2.0))
            scale = torch.tensor([1.0, 1.0, 0.0, 1.0, -1.0])
            pyro.sample("x", dist.Normal(z, scale), obs=x)

    error = wrong(model, conjugate_guide, X)
    assert isinstance(error, NonFiniteError) and error.site == "x"
    assert "2 of 5" in error.seen and "the model's" in error.seen and "scale" in error.seen


def test_a_non_finite_density_of_the_guide() -> None:
    class Guide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loc = nn.Parameter(torch.tensor(math.nan))

        def forward(self, x: torch.Tensor) -> None:
            pyro.sample("mu", dist.Normal(self.loc, 1.0))

    error = wrong(pairs.GlobalMean(), Guide(), X)
    assert isinstance(error, NonFiniteError) and error.site == "mu" and "guide" in error.seen


def test_data_outside_the_support() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Bernoulli(0.5), obs=x)

    error = wrong(model, no_guide, torch.tensor([0.0, 1.0, 0.5, 2.0, 1.0]))
    assert error.site == "x" and "2 of 5" in error.seen and "0.5" in error.seen
    assert "Bernoulli" in error.expected


def test_missing_data_are_named_until_they_are_masked() -> None:
    x = torch.tensor([0.5, math.nan, 1.0])
    seen = ~x.isnan()

    def careless(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    def careful(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(0.0, 1.0).mask(seen), obs=x.nan_to_num())

    error = wrong(careless, no_guide, x)
    assert error.site == "x" and "1 of 3" in error.seen and "mask" in error.cure
    assert check(careful, no_guide, x).sites


# 9: gradients


def test_a_parameter_that_no_gradient_reaches() -> None:
    class Model(pairs.GlobalMean):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.tensor(1.0))

    model = Model()
    error = wrong(model, pairs.GlobalMeanGuide(), X)
    assert error.site == "model.unused" and "1 parameters" in error.seen
    model.unused.requires_grad_(False)
    assert check(model, pairs.GlobalMeanGuide(), X).sites


def test_a_detached_network() -> None:
    class Guide(pairs.ConjugateGuide):
        def forward(self, x: torch.Tensor) -> None:
            with pyro.plate("data", len(x), dim=-1):
                loc = (self.slope * x).detach()
                pyro.sample("z", dist.Normal(loc, self.log_scale.exp()))

    error = wrong(conjugate, Guide(), X)
    assert error.site == "guide.slope" and ".detach()" in error.cure


@pytest.mark.parametrize("infer", [{}, PARALLEL])
def test_nothing_is_reached(infer: dict) -> None:
    class Guide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.idle = nn.Parameter(torch.tensor(1.0))

        def forward(self, x: torch.Tensor) -> None:
            if not infer:
                pyro.sample("w", dist.Bernoulli(0.5))

    def model(x: torch.Tensor) -> None:
        w = pyro.sample("w", dist.Bernoulli(0.5), infer=infer)
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(w, 1.0), obs=x)

    assert wrong(model, Guide(), X).site == "guide.idle"


# 10: state


def test_state_kept_between_calls() -> None:
    class Counting(pairs.GlobalMean):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: torch.Tensor | None = None, num_data: int = 1) -> torch.Tensor:
            self.calls += 1
            mu = pyro.sample("mu", dist.Normal(0.0, 3.0))
            with pyro.plate("data", len(x), dim=-1):
                return pyro.sample("x", dist.Normal(mu, self.calls), obs=x)

    model = Counting()
    error = wrong(model, pairs.GlobalMeanGuide(), X)
    assert error.site == "x" and "from the same seed" in error.seen
    assert model.calls == 0


def test_state_kept_in_an_attribute_of_the_guide() -> None:
    class Drifting(nn.Module):
        calls = 0

        def forward(self, x: torch.Tensor) -> None:
            self.calls += 1
            pyro.sample("mu", dist.Normal(float(self.calls), 1.0))

    guide = Drifting()
    error = wrong(pairs.GlobalMean(), guide, X)
    assert error.site == "mu" and "in the guide" in error.seen
    assert guide.calls == 0


def test_sites_that_come_and_go() -> None:
    class Flickering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: torch.Tensor) -> None:
            self.calls += 1
            mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("x", dist.Normal(mu, 1.0), obs=x)
                if self.calls > 1:
                    pyro.sample("again", dist.Normal(mu, 1.0), obs=x)

    error = wrong(Flickering(), pairs.GlobalMeanGuide(), X)
    assert error.site == "again"


def test_batch_norm_and_dropout_are_no_such_state(untouched: None) -> None:
    class Guide(pairs.AmortisedGuide):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5))

        def forward(self, x: torch.Tensor | None = None, num_data: int = 1) -> None:
            super().forward(self.body(x))

    with seeded(0):
        model, guide = pairs.Amortised(), Guide()
        x = torch.randn(6, 4)
    before = copy.deepcopy(guide.state_dict())
    check(model, guide, x)
    for name, value in guide.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert guide.training and all(p.grad is None for p in guide.parameters())


# 13 and 14: the call


@pytest.mark.parametrize(
    ("args", "words"), [((), "missing"), ((X, X), "too many"), ((X, X, X), "too many")]
)
def test_wrong_number_of_arguments(args: tuple, words: str) -> None:
    error = wrong(conjugate, conjugate_guide, *args)
    assert words in error.seen and "the model takes (x" in error.seen


def test_guide_takes_other_arguments() -> None:
    def guide(x: torch.Tensor, mask: torch.Tensor) -> None:
        conjugate_guide(x)

    assert "the guide takes (x" in wrong(conjugate, guide, X).seen
    assert "the guide takes (x" in wrong(conjugate, guide, x=X).seen


def test_arguments_in_another_order() -> None:
    def model(x: torch.Tensor, y: torch.Tensor) -> None:
        conjugate(x)

    def guide(y: torch.Tensor, x: torch.Tensor) -> None:
        conjugate_guide(x)

    error = wrong(model, guide, X, X)
    assert "['x', 'y']" in error.seen and "['y', 'x']" in error.seen


def test_pyro_module_inside_a_function() -> None:
    error = wrong(conjugate, _with_pyro_module(), X)
    assert error.site == "encoder" and "pass an nn.Module" in error.cure


def _with_pyro_module() -> Callable:
    parts = {"encoder": nn.Linear(1, 1)}

    def guide(x: torch.Tensor) -> None:
        pyro.module("encoder", parts["encoder"])
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(parts["encoder"](x[:, None])[:, 0], 1.0))

    return guide


@pytest.mark.parametrize("base", [nn.Module, PyroModule])
def test_pyro_param_inside_a_module(base: type) -> None:
    class Guide(base):
        def forward(self, x: torch.Tensor) -> None:
            loc = pyro.param("loc", torch.tensor(0.0))
            pyro.sample("mu", dist.Normal(loc, 1.0))

    error = wrong(pairs.GlobalMean(), Guide(), X)
    assert "pyro.param" in error.seen and ("Parameter" in error.cure or "PyroParam" in error.cure)


# what else can go wrong


def test_a_prior_that_cannot_simulate() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.ImproperUniform(constraints.real, (), ()))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    error = wrong(model, conjugate_guide, X)
    assert error.site == "z" and "simulating from the prior" in error.seen


def test_a_prior_that_overflows() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 500.0))
            pyro.sample("x", dist.Normal(torch.exp(z.abs() * 10), 1.0), obs=x)

    def guide(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(0.0, 1e-3 + 0 * x))

    error = wrong(model, guide, X)
    assert error.site == "x" and "not finite" in error.seen


def test_simulated_data_of_another_shape() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("data", 5, dim=-1):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    error = wrong(model, no_guide, torch.zeros(1))
    assert error.site == "x" and "(5,) simulated, (1,) observed" in error.seen


def test_an_error_in_the_users_code_names_where() -> None:
    class Guide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(3, 1)

        def forward(self, x: torch.Tensor) -> None:
            pyro.sample("mu", dist.Normal(0.0, 1.0))
            self.net(x)

    error = wrong(pairs.GlobalMean(), Guide(), X)
    assert "the guide, run by itself, at 'mu' or after it: RuntimeError" in error.seen
    assert isinstance(error.__cause__, RuntimeError)


def test_input_errors_of_a_story_pass_through() -> None:
    def model(x: torch.Tensor) -> None:
        raise InputError("x", "5 numbers", "6 numbers", "bring one more")

    with pytest.raises(InputError, match="bring one more"):
        check(model, no_guide, X)


def test_two_data_plates() -> None:
    def model(x: torch.Tensor) -> None:
        for name in ("rows", "columns"):
            with pyro.plate(name, len(x), dim=-1):
                pyro.sample(f"x_{name}", dist.Normal(0.0, 1.0), obs=x)

    assert "plate='columns'" in wrong(model, no_guide, X).cure
    assert check(model, no_guide, X, plate="rows").plate == "rows"


def test_a_site_named_twice() -> None:
    def model(x: torch.Tensor) -> None:
        for _ in range(2):
            pyro.sample("mu", dist.Normal(0.0, 1.0))

    error = wrong(model, no_guide, X)
    assert error.site == "mu" and "a name of its own" in error.cure


def test_check_changes_nothing(untouched: None) -> None:
    pyro.param("mine", torch.tensor(2.0))
    state = torch.get_rng_state(), random.getstate()
    model, guide = pairs.MixturePrior(), pairs.ConjugateGuide()
    model.eval()
    before = copy.deepcopy([model.state_dict(), guide.state_dict()])
    one, two = (check(model, guide, X) for _ in range(2))
    assert one == two
    assert torch.equal(state[0], torch.get_rng_state()) and state[1] == random.getstate()
    assert list(pyro.get_param_store()) == ["mine"] and pyro.param("mine").item() == 2.0
    pyro.clear_param_store()
    assert not model.training and guide.training
    for module, saved in zip((model, guide), before, strict=True):
        assert all(torch.equal(v, saved[n]) for n, v in module.state_dict().items())
        assert all(p.grad is None for p in module.parameters())
