from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from inference.diagnostics.replace import Replacement, replacements
from inference.errors import PairError
from inference.tracing.sampler import Sampler
from tests.pairs import Conjugate, ConjugateGuide


def found(model, guide, *args, given=None, **kwargs):
    with torch.no_grad():
        return replacements(Sampler(model, guide, args, kwargs), given or {})


class Doubled(Conjugate):
    def forward(self, x, y=None):
        return super().forward(2 * x)


class DoubledGuide(ConjugateGuide):
    def forward(self, x, y=None):
        super().forward(2 * x)


class Copied(Conjugate):
    def forward(self, x, y=None):
        return super().forward(x.clone())


class CopiedGuide(ConjugateGuide):
    def forward(self, x, y=None):
        super().forward(x)


def test_the_argument_is_found_by_position_and_by_name():
    x = torch.tensor([1.0, 2.0])
    assert [r.argument for r in found(Conjugate(), ConjugateGuide(), x)] == [0]
    assert [r.argument for r in found(Conjugate(), ConjugateGuide(), x=x)] == ["x"]


def test_a_copy_is_found_by_its_values_and_a_twin_is_ambiguous():
    x = torch.tensor([1.0, 2.0])
    assert found(Copied(), CopiedGuide(), x)[0].argument == 0
    with pytest.raises(PairError, match="2 arguments equal"):
        found(Copied(), CopiedGuide(), x, x.clone())


def test_identity_decides_between_twins():
    x = torch.tensor([1.0, 2.0])

    class Second(Conjugate):
        def forward(self, y, x):
            return super().forward(x)

    class SecondGuide(ConjugateGuide):
        def forward(self, y, x):
            super().forward(x)

    assert found(Second(), SecondGuide(), x.clone(), x)[0].argument == 1


def test_an_argument_that_is_not_there_is_asked_for():
    x = torch.tensor([1.0, 2.0])
    with pytest.raises(PairError, match="replace=") as caught:
        found(Doubled(), DoubledGuide(), x)
    assert caught.value.site == "x"
    assert found(Doubled(), DoubledGuide(), x, given={"x": 0})[0].argument == 0


def test_wrong_replacements_are_refused():
    x = torch.tensor([1.0, 2.0])
    with pytest.raises(PairError, match="no observed site"):
        found(Conjugate(), ConjugateGuide(), x, given={"z": 0})
    with pytest.raises(PairError, match="tensor argument of 2 values"):
        found(Conjugate(), ConjugateGuide(), x, given={"x": "y"})


def test_missing_values_are_equal_to_themselves():
    class Masked(nn.Module):
        def forward(self, x):
            with pyro.plate("data", len(x), dim=-1):
                present = x.isfinite()
                pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))
                fn = dist.Normal(torch.zeros(len(x)), 1.0, validate_args=False).mask(present)
                pyro.sample("x", fn, obs=x.clone())

    class Guide(nn.Module):
        def forward(self, x):
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", dist.Normal(torch.zeros(len(x)), 1.0))

    x = torch.tensor([1.0, float("nan")])
    assert found(Masked(), Guide(), x)[0].argument == 0


@pytest.mark.parametrize("key", [1, "y"])
def test_values_are_put_in_the_place_of_the_data_and_the_call_given_is_kept(key):
    args, kwargs = (torch.zeros(2), torch.ones(4)), {"y": torch.ones(4)}
    put, named = Replacement("x", key, torch.Size((4,))).put(args, kwargs, torch.zeros(2, 2))
    assert torch.equal(named[key] if key == "y" else put[key], torch.zeros(4))
    assert put[0] is args[0] and bool((args[1] == 1).all() and (kwargs["y"] == 1).all())
