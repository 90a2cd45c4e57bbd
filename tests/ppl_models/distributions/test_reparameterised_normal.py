"""A normal distribution that remembers its draw's noise is the one that does not."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
from torch.distributions import kl_divergence

from inference.randomness import seeded
from ppl_models.distributions import ReparameterisedNormal


def parameters(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and factor, in double precision."""
    with seeded(0):
        loc = torch.randn(*shape, 3, dtype=torch.double)
        factor = torch.randn(*shape, 3, 3, dtype=torch.double).tril()
    factor.diagonal(dim1=-2, dim2=-1).exp_()
    return loc.requires_grad_(), factor.requires_grad_()


@pytest.mark.parametrize("expanded", [(), (5,), (2, 5)])
def test_draws_densities_and_gradients_are_those_of_the_usual_one(
    expanded: tuple[int, ...],
) -> None:
    found = []
    for family in (dist.MultivariateNormal, ReparameterisedNormal):
        loc, factor = parameters(*expanded[-1:])
        normal = family(loc, scale_tril=factor).expand(torch.Size(expanded))
        with seeded(1):
            z = normal.rsample((4,))
        density = normal.log_prob(z)
        (density.sin().sum() + z.cos().sum()).backward()
        found.append((z.detach(), density.detach(), loc.grad, factor.grad.tril()))
    for usual, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, usual, rtol=1e-10, atol=1e-10)


def test_other_values_are_scored_too_and_so_is_a_draw_once_another_was_drawn() -> None:
    loc, factor = parameters(5)
    ours, usual = (
        f(loc, scale_tril=factor) for f in (ReparameterisedNormal, dist.MultivariateNormal)
    )
    first = ours.rsample()
    second = ours.rsample()
    for value in (first, second, second.clone(), torch.zeros(5, 3, dtype=torch.double)):
        torch.testing.assert_close(ours.log_prob(value), usual.log_prob(value))
    fresh = ReparameterisedNormal(loc, scale_tril=factor)
    assert torch.equal(fresh.log_prob(first), usual.log_prob(first))


def test_its_divergence_is_in_closed_form() -> None:
    loc, factor = parameters(5)
    prior = dist.MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    one, other = (
        kl_divergence(f(loc, scale_tril=factor), prior)
        for f in (ReparameterisedNormal, dist.MultivariateNormal)
    )
    assert torch.equal(one, other)
