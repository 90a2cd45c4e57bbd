from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch

from inference.diagnostics import laplace, pathfinder
from inference.randomness import seeded
from inference.tracing import bind, lent_potential

COVARIANCE = torch.tensor([[1.0, 0.9e3], [0.9e3, 1e6]]).double()
MEAN = torch.tensor([30.0, -5e4]).double()


def normal():
    pyro.sample("z", dist.MultivariateNormal(MEAN, COVARIANCE))


@pytest.mark.parametrize("find", [laplace, pathfinder])
def test_a_normal_posterior_of_far_scales_is_found_exactly(find):
    model, _ = bind(normal, lambda: None)
    with seeded(0), lent_potential(model, (), {}, 0) as potential:
        found = find(potential, potential.start())
    sd = COVARIANCE.diagonal().sqrt()
    assert ((found.mean - MEAN).abs() < 1e-3 * sd).all()
    ratio = (found.covariance - COVARIANCE) / torch.outer(sd, sd)
    assert ratio.abs().max() < 0.01  # pathfinder may stop a step before the mode
    assert found.bound == pytest.approx(0.0, abs=0.01)  # the density is normalised


def test_pathfinder_leaves_a_mode_that_is_far_from_the_mass():
    def funnel():
        v = pyro.sample("v", dist.Normal(0.0, 2.0))
        pyro.sample("x", dist.Normal(torch.zeros(8), (v / 2).exp()).to_event(1))

    model, _ = bind(funnel, lambda: None)
    with seeded(1), lent_potential(model, (), {}, 0) as potential:
        path, mode = (find(potential, potential.start()) for find in (pathfinder, laplace))
    assert path.bound > mode.bound and abs(float(path.mean[0])) < abs(float(mode.mean[0]))
