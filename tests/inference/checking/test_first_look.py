"""The first look that `check` and `fit` share."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from inference import PairError
from inference.checking import first_look
from inference.tracing import bind, untouched
from ppl_models import InputError
from tests import pairs


def test_it_returns_scored_traces_of_the_pair() -> None:
    """At the exact posterior, log p(x, z) - log q(z) is the evidence of each datum."""
    model, guide = pairs.Conjugate(), pairs.ConjugateGuide(exact=True)
    x = torch.randn(7)
    with untouched(model, guide):
        ours, theirs = first_look(model, guide, (x,), {})
    terms = ours.nodes["x"]["log_prob"] + ours.nodes["z"]["log_prob"]
    bound = terms - theirs.nodes["z"]["log_prob"]
    assert torch.allclose(bound, model.evidence(x), atol=1e-5)  # float32 sums of a few terms


@pytest.mark.parametrize("data", ["wide", "tall"])
def test_pairs_of_all_data_by_a_forgotten_dim_are_named(data: str) -> None:
    mean = torch.zeros(6, 1) if data == "wide" else torch.zeros(6)
    y = torch.zeros(6) if data == "wide" else torch.zeros(6, 1)

    def model(y: Tensor) -> None:
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Normal(mean, 1.0), obs=y)

    pair = bind(model, lambda y: None, y)
    with pytest.raises(PairError, match=r"squeeze\(-1\)") as raised, untouched(*pair):
        first_look(*pair, (y,), {})
    assert ("squeeze the mean" in raised.value.cure) == (data == "wide")


def test_a_wrong_dtype_is_data_and_no_fault_of_the_pair() -> None:
    class Linear(torch.nn.Linear):
        def forward(self, x: Tensor) -> None:  # type: ignore[override]
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Normal(super().forward(x), 1.0).to_event(1), obs=x)

    pair = bind(Linear(2, 2), lambda x: None, torch.zeros(3, 2))
    with pytest.raises(InputError, match=r"x: saw torch\.float64"), untouched(*pair):
        first_look(*pair, (torch.zeros(3, 2).double(),), {})
