"""Errors of Pyro, torch and the user, caused on purpose: each is said with its site and cure."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from inference import check
from ppl_models.errors import InputError
from tests import pairs
from tests.mistakes import PARALLEL, X, conjugate, conjugate_guide, no_guide, wrong


def test_plate_dims_collide() -> None:
    def model(x: torch.Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", 5, dim=-1), pyro.plate("columns", 3, dim=-1):
            pyro.sample("x", dist.Normal(mu, 1.0), obs=x)

    def guide(x: torch.Tensor) -> None:
        pyro.sample("mu", dist.Normal(0.0, 1.0))

    error = wrong(model, guide, torch.zeros(5, 3))
    assert "collide at dim=-1" in error.found and "rows" in error.found and "dim=" in error.cure
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
    assert "duplicate plate 'data'" in error.found and "a name of its own" in error.cure


def test_an_enumerated_value_indexed_in_the_wrong_way() -> None:
    # right for one w a datum; when w is enumerated it has shape (2, 1), and this pairs it wrongly
    def model(x: torch.Tensor) -> None:
        loc = torch.zeros(5, 2)
        with pyro.plate("data", len(x), dim=-1):
            w = pyro.sample("w", dist.Categorical(torch.ones(2)), infer=PARALLEL)
            mine = loc.gather(1, w[:, None])[:, 0]
            pyro.sample("x", dist.Normal(mine, 1.0), obs=x)

    error = wrong(model, no_guide, X)
    assert "Pyro's validation" in error.found and "Vindex" in error.cure


def test_an_event_where_a_plate_expects_a_batch() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(torch.zeros(5, 4), 1.0), obs=x)

    error = wrong(model, no_guide, torch.zeros(5, 4))
    assert error.site == "x" and "Shape mismatch" in error.found and ".to_event" in error.cure


def test_an_error_in_the_users_code_names_where() -> None:
    class Guide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Linear(3, 1)

        def forward(self, x: torch.Tensor) -> None:
            pyro.sample("mu", dist.Normal(0.0, 1.0))
            self.net(x)

    error = wrong(pairs.GlobalMean(), Guide(), X)
    assert "the guide, run by itself, at 'mu' or after it: RuntimeError" in error.found
    assert isinstance(error.__cause__, RuntimeError)


def test_input_errors_of_a_model_pass_through() -> None:
    def model(x: torch.Tensor) -> None:
        raise InputError("x", "5 numbers", "6 numbers", "bring one more")

    with pytest.raises(InputError, match="bring one more"):
        check(model, no_guide, X)


def test_a_site_named_twice() -> None:
    def model(x: torch.Tensor) -> None:
        for _ in range(2):
            pyro.sample("mu", dist.Normal(0.0, 1.0))

    error = wrong(model, no_guide, X)
    assert error.site == "mu" and "a name of its own" in error.cure
