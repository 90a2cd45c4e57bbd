"""Sites, shapes and plates that do not fit, made on purpose: each is named, with its cure."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from inference import check
from tests.mistakes import PARALLEL, X, conjugate, conjugate_guide, no_guide, wrong


def test_guide_misses_a_site() -> None:
    error = wrong(conjugate, no_guide, X)
    assert error.site == "z" and "does not sample" in error.found and "'z'" in error.cure


def test_guide_adds_a_site() -> None:
    def guide(x: torch.Tensor) -> None:
        conjugate_guide(x)
        pyro.sample("extra", dist.Normal(0.0, 1.0))

    error = wrong(conjugate, guide, X)
    assert error.site == "extra" and "does not have" in error.found and "z" in error.expected


def test_guide_samples_what_the_model_observes() -> None:
    def guide(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(0.5 * x, 0.5))
            pyro.sample("x", dist.Normal(0.0, 1.0))

    error = wrong(conjugate, guide, X)
    assert error.site == "x" and "the model observes" in error.found


def test_event_shapes_differ() -> None:
    def model(x: torch.Tensor) -> None:
        z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(z.sum(), 1.0), obs=x)

    def guide(x: torch.Tensor) -> None:
        pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))

    error = wrong(model, guide, X)
    assert error.site == "z" and "(2,)" in error.found and "(3,)" in error.expected


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
    assert "rows(dim=-1, size=5) in the guide, data(dim=-1, size=5) in the model" in error.found


def test_a_discrete_site_that_is_nowhere() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            w = pyro.sample("w", dist.Categorical(torch.ones(2)))
            pyro.sample("x", dist.Normal(torch.tensor([-1.0, 1.0])[w], 1.0), obs=x)

    error = wrong(model, no_guide, X)
    assert error.site == "w" and "neither enumerated nor in the guide" in error.found
    assert "'enumerate': 'parallel'" in error.cure


@pytest.mark.parametrize(
    ("site", "infer", "message"),
    [
        (dist.Categorical(torch.ones(2)), {"enumerate": "sequential"}, "sequential"),
        (dist.Poisson(2.0), PARALLEL, "marked for enumeration"),
        (dist.Poisson(2.0), {}, "does not sample"),
    ],
)
def test_sites_that_cannot_be_enumerated(site: object, infer: dict, message: str) -> None:
    def model(x: torch.Tensor) -> None:
        w = pyro.sample("w", site, infer=infer)
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(1.0 * w, 1.0), obs=x)

    error = wrong(model, no_guide, X)
    assert error.site == "w" and message in error.found


def test_undeclared_batch_dims() -> None:
    def model(x: torch.Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(torch.zeros(3), 1.0))
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(mu.sum(), 1.0), obs=x)

    def guide(x: torch.Tensor) -> None:
        pyro.sample("mu", dist.Normal(torch.zeros(3), 1.0))

    error = wrong(model, guide, X)
    assert error.site == "mu" and "batch shape (3,)" in error.found
    assert ".to_event(1)" in error.cure and "pyro.plate" in error.cure


def test_undeclared_batch_dims_of_the_data() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    error = wrong(model, no_guide, torch.zeros(5, 4))
    assert error.site == "x" and "data of shape (5, 4)" in error.found


def test_data_of_the_wrong_event_shape() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(torch.zeros(3), 1.0).to_event(1), obs=x)

    error = wrong(model, no_guide, torch.zeros(5, 4))
    assert error.site == "x" and "(5, 4)" in error.found and "(3,)" in error.found


def test_data_outside_the_support() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Bernoulli(0.5), obs=x)

    error = wrong(model, no_guide, torch.tensor([0.0, 1.0, 0.5, 2.0, 1.0]))
    assert error.site == "x" and "2 of 5" in error.found and "0.5" in error.found
    assert "Bernoulli" in error.expected


def test_missing_data_are_named_until_they_are_masked() -> None:
    x = torch.tensor([0.5, math.nan, 1.0])
    observed = ~x.isnan()

    def careless(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    def careful(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(0.0, 1.0).mask(observed), obs=x.nan_to_num())

    error = wrong(careless, no_guide, x)
    assert error.site == "x" and "1 of 3" in error.found and "mask" in error.cure
    assert check(careful, no_guide, x).sites
