from __future__ import annotations

import copy

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn

from inference.errors import PairError
from inference.tracing.layout import (
    batch_length,
    data_plate,
    layout,
    pair_traces,
)
from inference.tracing.layout import untouched as given_back
from tests import pairs


def test_data_plate_is_the_outermost_of_its_size() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("batch", 3, dim=-2), pyro.plate("objects", 3, dim=-1):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    trace = poutine.trace(model).get_trace(torch.zeros(3, 3))
    assert data_plate(trace, 3).name == "batch"
    assert data_plate(trace, 3, "objects").dim == -1
    assert data_plate(trace, 5) is None
    with pytest.raises(PairError, match="the plates batch, objects"):
        data_plate(trace, 3, "data")


def test_an_ambiguous_data_plate_is_an_error() -> None:
    def model(x: torch.Tensor, y: torch.Tensor) -> None:
        with pyro.plate("users", 3, dim=-1):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)
        with pyro.plate("items", 3, dim=-1):
            pyro.sample("y", dist.Normal(0.0, 1.0), obs=y)

    trace = poutine.trace(model).get_trace(torch.zeros(3), torch.zeros(3))
    with pytest.raises(PairError, match="items, users") as error:
        data_plate(trace, 3)
    assert "plate='items'" in error.value.cure


def test_a_plate_of_latents_is_no_data_plate() -> None:
    def model(x: torch.Tensor) -> None:
        with pyro.plate("components", 3, dim=-1):
            loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
        with pyro.plate("data", 3, dim=-1):
            pyro.sample("x", dist.Normal(loc.sum(), 1.0), obs=x)

    assert data_plate(poutine.trace(model).get_trace(torch.zeros(3)), 3).name == "data"


def test_a_plate_once_found_is_known_for_every_size() -> None:
    class Model(nn.Module):
        def forward(self, x: torch.Tensor) -> None:
            with pyro.plate("features", 2, dim=-1):
                pyro.sample("y", dist.Normal(0.0, 1.0), obs=torch.zeros(2))
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    model, guide = Model(), pairs.NoLatents()
    assert layout(model, guide, (torch.zeros(5),)).plate.name == "data"
    assert layout(model, guide, (torch.zeros(2),)).plate.name == "data"
    with pytest.raises(PairError, match="data, features"):
        layout(Model(), guide, (torch.zeros(2),))


def test_layout_of_a_mixture() -> None:
    found = layout(pairs.TwoComponents(), pairs.NoLatents(), (torch.zeros(5),))
    assert (found.plate.name, found.max_plate_nesting) == ("data", 1)
    assert found.enumerated == ("w",) and found.local and not found.outside
    found = layout(pairs.GlobalMean(), pairs.GlobalMeanGuide(), (torch.zeros(5),))
    assert not found.local and not found.enumerates


def test_batch_length() -> None:
    assert batch_length((None, torch.tensor(3.0), torch.zeros(5, 2))) == 5
    assert batch_length((), {"x": torch.zeros(4)}) == 4
    assert batch_length((3, "a")) == 1


def test_pair_traces_replays_the_guide() -> None:
    model, guide = pair_traces(pairs.Conjugate(), pairs.ConjugateGuide(), (torch.arange(3.0),))
    assert model.nodes["z"]["value"] is guide.nodes["z"]["value"]


def test_untouched_gives_everything_back(untouched: None) -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(2)
            self.calls, self.seen = 0, []

        def forward(self, x: torch.Tensor) -> None:
            self.calls += 1
            self.seen.append(x)
            self.new = self.norm(x)

    module, x = Counter(), torch.arange(6.0).reshape(3, 2)
    before = copy.deepcopy(module.state_dict())
    buffer, seen = module.norm.running_mean, module.seen
    with given_back(module):
        torch.rand(1)
        pyro.param("left", torch.tensor(1.0))
        module.eval()
        module.train()
        module(x)
        module.eval()
    assert module.training and module.norm.training
    assert module.calls == 0 and module.seen == [] and not hasattr(module, "new")
    assert module.norm.running_mean is buffer and module.seen is seen
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name
