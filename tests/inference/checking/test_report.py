"""The table of a right pair, and what check leaves as it was."""

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
from torch.distributions import constraints

from inference import check
from inference.randomness import seeded
from tests import pairs
from tests.mistakes import PARALLEL, X, conjugate, conjugate_guide, no_guide, wrong

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
            pyro.factor("tax", -0.1 * x.square())  # a number a datum

    def guide(x: torch.Tensor) -> None:
        noise = pyro.sample("noise", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})
        pyro.sample("mu", dist.Delta(noise, log_density=torch.tensor(0.0)))

    kinds = {row.name: row.kind for row in check(model, guide, X).sites}
    assert kinds == {
        "mu": "latent",
        "twice": "deterministic",
        "penalty": "factor",
        "x": "observed",
        "tax": "factor",
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


def test_max_plate_nesting_too_small() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("clips", 2, dim=-2), pyro.plate("detections", 5, dim=-1):
            w = pyro.sample("w", dist.Categorical(torch.ones(2)), infer=PARALLEL)
            pyro.sample("x", dist.Normal(torch.tensor([-1.0, 1.0])[w], 1.0), obs=x)

    x = torch.zeros(2, 5)
    error = wrong(model, no_guide, x, max_plate_nesting=1)
    assert error.site == "w" and "dim -2" in error.found and "at least 2" in error.expected
    assert check(model, no_guide, x, max_plate_nesting=2).max_plate_nesting == 2


def test_two_data_plates() -> None:
    def model(x: torch.Tensor) -> None:
        for name in ("rows", "columns"):
            with pyro.plate(name, len(x), dim=-1):
                pyro.sample(f"x_{name}", dist.Normal(0.0, 1.0), obs=x)

    assert "plate='columns'" in wrong(model, no_guide, X).cure
    assert check(model, no_guide, X, plate="rows").plate == "rows"


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
