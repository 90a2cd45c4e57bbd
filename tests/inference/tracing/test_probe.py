from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from inference.diagnostics.importance import importance
from inference.tracing.probe import disagreement
from inference.tracing.sampler import Sampler
from tests.inference.diagnostics.odd_pairs import (
    IndexingModel,
    LocalGuide,
    OwnNoiseGuide,
    SummingModel,
    Tracks,
    TracksGuide,
)
from tests.pairs import Conjugate, ConjugateGuide

X = torch.tensor([0.5, -1.0, 2.0, 0.1])


def sampler_of(model, guide, *data, **options):
    return Sampler(model, guide, data, {}, **options)


@pytest.mark.parametrize(
    ("model", "guide", "why"),
    [
        (Conjugate, OwnNoiseGuide, "makes one draw and repeats it"),
        (SummingModel, LocalGuide, "site 'x': its log density changes"),
        (IndexingModel, LocalGuide, "Error"),
    ],
)
def test_a_pair_that_does_not_broadcast_is_drawn_one_by_one(model, guide, why):
    sampler = sampler_of(model(), guide(), X)
    assert not sampler.vectorised
    assert why in sampler.reason
    result = importance(model(), guide(), X, num_samples=6)
    assert result.log_weights.shape == (6, 4)
    assert (result.log_weights[0] != result.log_weights[1]).all()


def test_a_pair_that_broadcasts_has_nothing_against_it():
    assert disagreement(sampler_of(Conjugate(), ConjugateGuide(), X)) == ""
    assert disagreement(sampler_of(Tracks(), TracksGuide(), torch.randn(2, 3, 2))) == ""


def test_sums_are_compared_too():
    class Model(nn.Module):
        """Goes wrong only where w is enumerated and z has an outer plate of draws."""

        def forward(self, x):
            with pyro.plate("data", len(x), dim=-1):
                w = pyro.sample("w", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})
                z = pyro.sample("z", dist.Normal(0.0, 1.0))
                bias = 3.0 if z.dim() == 2 and w.dim() == 3 else 0.0
                pyro.sample("x", dist.Normal(z + w + bias, 0.5), obs=x)

    assert "sum over enumerated sites" in sampler_of(Model(), LocalGuide(), X).reason


def test_discrete_noise_of_its_own_is_found():
    class Model(nn.Module):
        def forward(self, x):
            with pyro.plate("data", len(x), dim=-1):
                n = pyro.sample("n", dist.Poisson(torch.full((len(x),), 3.0)))
                pyro.sample("x", dist.Normal(n, 1.0), obs=x)

    class Guide(nn.Module):
        def forward(self, x):
            with pyro.plate("data", len(x), dim=-1):
                n = torch.poisson(torch.full((len(x),), 3.0)).long()
                pyro.sample("n", dist.Delta(n, log_density=torch.zeros(len(x))))

    sampler = sampler_of(Model(), Guide(), torch.randn(20))
    assert "repeats it" in sampler.reason


def test_one_way_of_drawing_can_be_chosen():
    assert not sampler_of(Conjugate(), ConjugateGuide(), X, vectorised=False).vectorised
    assert sampler_of(Conjugate(), ConjugateGuide(), X, vectorised=True).vectorised
