"""Linear-Gaussian paths whose every frame has its own parameters, against dense Gaussians."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from ppl_models.distributions.gaussian_paths import GaussianChain, ObservedChain
from ppl_models.distributions.kalman import LinearGaussian, kalman_filter
from tests.dense import conditioned, hidden_and_observed

B, T, D, N = 3, 4, 2, 3
CLOSE: Any = {"rtol": 0, "atol": 1e-8}


def parameters() -> LinearGaussian:
    def normal(*shape: int) -> Tensor:
        return torch.randn(B, *shape).double()

    def cov(*shape: int) -> Tensor:
        root = normal(*shape, N, N)
        return root @ root.mT + 0.1 * torch.eye(N).double()

    return LinearGaussian(
        normal(N),
        cov(),
        0.5 * normal(T - 1, N, N),
        normal(T - 1, N),
        cov(T - 1),
        normal(T, D, N),
        normal(T, D),
        normal(T, D).square() + 0.1,
    )


def test_hidden_and_observed_paths_are_dense_gaussians() -> None:
    params = parameters()
    z, s = torch.randn(B, T, N).double(), torch.randn(B, T, D).double()
    prior, observed = (
        GaussianChain.prior(params, T).log_prob(z),
        ObservedChain(params, T).log_prob(s),
    )
    after = GaussianChain.posterior(params, kalman_filter(params, s)).log_prob(z)
    for row in range(B):
        mean, cov = hidden_and_observed(*(part[row] for part in params))
        n = T * N
        dense = MultivariateNormal(mean[:n], cov[:n, :n]).log_prob(z[row].flatten())
        assert torch.allclose(prior[row], dense, **CLOSE)
        dense = MultivariateNormal(mean[n:], cov[n:, n:]).log_prob(s[row].flatten())
        assert torch.allclose(observed[row], dense, **CLOSE)
        distribution = MultivariateNormal(*conditioned(mean, cov, s[row].flatten()))
        assert torch.allclose(after[row], distribution.log_prob(z[row].flatten()), **CLOSE)


def test_draws_have_the_moments_of_the_dense_gaussian() -> None:
    params = parameters()
    z = GaussianChain.prior(params, T).rsample((5000,)).flatten(2)
    s = ObservedChain(params, T).rsample((5000,)).flatten(2)
    for row in range(B):
        mean, cov = hidden_and_observed(*(part[row] for part in params))
        n = T * N
        for drawn, m, c in ((z, mean[:n], cov[:n, :n]), (s, mean[n:], cov[n:, n:])):
            x, deviation = drawn[:, row], c.diag().sqrt()
            assert ((x.mean(0) - m).abs() < 5 * deviation / 5000**0.5).all()  # 5 standard errors
            scale = torch.outer(deviation, deviation)
            error = ((x - m).T @ (x - m) / 5000 - c).abs() / scale
            assert (error < 5 * ((1 + (c / scale) ** 2) / 5000).sqrt()).all()


@pytest.mark.parametrize("kind", ["prior", "posterior", "observed"])
def test_draws_are_differentiable_and_distributions_expand(kind: str) -> None:
    params = parameters()
    params = params._replace(transition=params.transition.requires_grad_())
    s = torch.randn(B, T, D).double()
    distributions = {
        "prior": lambda: GaussianChain.prior(params, T),
        "posterior": lambda: GaussianChain.posterior(params, kalman_filter(params, s)),
        "observed": lambda: ObservedChain(params, T),
    }
    distribution = distributions[kind]()
    wide = distribution.expand([5, B])
    value = wide.rsample((2,))
    assert value.shape == (2, 5, B, *distribution.event_shape) and wide.log_prob(value).shape == (
        2,
        5,
        B,
    )
    assert torch.allclose(wide.log_prob(value), distribution.log_prob(value))
    (gradient,) = torch.autograd.grad(value.sum(), params.transition)
    assert gradient.abs().sum() > 0
