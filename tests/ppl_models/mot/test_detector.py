from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from inference.randomness import seeded
from ppl_models.errors import InputError
from ppl_models.mot import LastingError, box_units


def test_the_density_is_that_of_a_stationary_gaussian() -> None:
    error = LastingError(0.05, 0.8)
    like = torch.zeros(2).double()
    apart = torch.arange(6)
    covariance = 0.05**2 * 0.8 ** (apart[:, None] - apart).abs().double()
    exact = MultivariateNormal(torch.zeros(6).double(), covariance)
    with seeded(0):
        path = 0.05 * torch.randn(7, 6, 2).double()
    walk = error.walk(6, like)
    assert torch.allclose(walk.log_prob(path), exact.log_prob(path.transpose(-1, -2)).sum(-1))


def test_draws_are_stationary_and_correlated() -> None:
    """8,000 draws: second moments to 5 standard errors."""
    with seeded(1):
        path = LastingError(0.05, 0.8).walk(10, torch.zeros(4)).rsample((2000,))
    scale = path.std((0, 2))
    assert (scale / 0.05 - 1).abs().max() < 5 / math.sqrt(2 * 8000)
    together = (path[:, 3] * path[:, 6]).mean() / 0.05**2
    assert abs(together - 0.8**3) < 5 * math.sqrt(2 / 8000)


def test_units_are_those_of_the_box() -> None:
    box = torch.tensor([7.0, 8.0, math.log(20.0), math.log(50.0)])
    assert torch.allclose(box_units(box), torch.tensor([20.0, 50.0, 1.0, 1.0]))


@pytest.mark.parametrize("wrong", [{"scale": 0.0}, {"correlation": 1.0}, {"correlation": -0.1}])
def test_constants_out_of_range_are_errors(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        LastingError(**wrong)
