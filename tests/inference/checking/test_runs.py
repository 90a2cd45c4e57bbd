"""Densities, gradients, state and calls that go wrong on purpose: each is named, with its cure."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule
from torch import nn
from torch.distributions import constraints

from inference import check
from inference.errors import NonFiniteError
from inference.randomness import seeded
from tests import pairs
from tests.mistakes import PARALLEL, X, conjugate, conjugate_guide, no_guide, wrong


def test_a_non_finite_density_of_the_model() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 2.0))
            scale = torch.tensor([1.0, 1.0, 0.0, 1.0, -1.0])
            pyro.sample("x", dist.Normal(z, scale), obs=x)

    error = wrong(model, conjugate_guide, X)
    assert isinstance(error, NonFiniteError) and error.site == "x"
    assert "2 of 5" in error.found and "the model's" in error.found and "scale" in error.found


def test_a_non_finite_density_of_the_guide() -> None:
    class Guide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loc = nn.Parameter(torch.tensor(math.nan))

        def forward(self, x: torch.Tensor) -> None:
            pyro.sample("mu", dist.Normal(self.loc, 1.0))

    error = wrong(pairs.GlobalMean(), Guide(), X)
    assert isinstance(error, NonFiniteError) and error.site == "mu" and "guide" in error.found


def test_a_parameter_that_no_gradient_reaches() -> None:
    class Model(pairs.GlobalMean):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.tensor(1.0))

    model = Model()
    error = wrong(model, pairs.GlobalMeanGuide(), X)
    assert error.site == "model.unused" and "1 parameters" in error.found
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


def test_state_kept_between_calls() -> None:
    class Counting(pairs.GlobalMean):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: torch.Tensor | None = None, size: int = 1) -> torch.Tensor:
            self.calls += 1
            mu = pyro.sample("mu", dist.Normal(0.0, 3.0))
            with pyro.plate("data", len(x), dim=-1):
                return pyro.sample("x", dist.Normal(mu, self.calls), obs=x)

    model = Counting()
    error = wrong(model, pairs.GlobalMeanGuide(), X)
    assert error.site == "x" and "from the same seed" in error.found
    assert model.calls == 0


def test_state_kept_in_an_attribute_of_the_guide() -> None:
    class Drifting(nn.Module):
        calls = 0

        def forward(self, x: torch.Tensor) -> None:
            self.calls += 1
            pyro.sample("mu", dist.Normal(float(self.calls), 1.0))

    guide = Drifting()
    error = wrong(pairs.GlobalMean(), guide, X)
    assert error.site == "mu" and "in the guide" in error.found
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

        def forward(self, x: torch.Tensor | None = None, size: int = 1) -> None:
            super().forward(self.body(x))

    with seeded(0):
        model, guide = pairs.Amortised(), Guide()
        x = torch.randn(6, 4)
    before = copy.deepcopy(guide.state_dict())
    check(model, guide, x)
    for name, value in guide.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert guide.training and all(p.grad is None for p in guide.parameters())


@pytest.mark.parametrize(
    ("args", "words"), [((), "missing"), ((X, X), "too many"), ((X, X, X), "too many")]
)
def test_wrong_number_of_arguments(args: tuple, words: str) -> None:
    error = wrong(conjugate, conjugate_guide, *args)
    assert words in error.found and "the model takes (x" in error.found


def test_guide_takes_other_arguments() -> None:
    def guide(x: torch.Tensor, mask: torch.Tensor) -> None:
        conjugate_guide(x)

    assert "the guide takes (x" in wrong(conjugate, guide, X).found
    assert "the guide takes (x" in wrong(conjugate, guide, x=X).found


def test_arguments_in_another_order() -> None:
    def model(x: torch.Tensor, y: torch.Tensor) -> None:
        conjugate(x)

    def guide(y: torch.Tensor, x: torch.Tensor) -> None:
        conjugate_guide(x)

    error = wrong(model, guide, X, X)
    assert "['x', 'y']" in error.found and "['y', 'x']" in error.found


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
    assert "pyro.param" in error.found and ("Parameter" in error.cure or "PyroParam" in error.cure)


def test_a_flat_prior_is_taken_and_a_note_says_what_it_cannot_do() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.ImproperUniform(constraints.real, (), ()))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    report = check(model, conjugate_guide, X)
    assert report.notes == ("z: a flat prior, of which no data can be simulated",)
    assert math.isfinite(report.bound)


def test_a_prior_that_overflows() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 500.0))
            pyro.sample("x", dist.Normal(torch.exp(z.abs() * 10), 1.0), obs=x)

    def guide(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(0.0, 1e-3 + 0 * x))

    error = wrong(model, guide, X)
    assert error.site == "x" and "not finite" in error.found


def test_simulated_data_of_another_shape() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("data", 5, dim=-1):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    error = wrong(model, no_guide, torch.zeros(1))
    assert error.site == "x" and "(5,) simulated, (1,) observed" in error.found
