from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Gamma, Poisson

from ppl_models import InputError, PoissonFactors


def known(latent_dim: int = 2, shape: float = 1.5, mean: float = 12.0) -> PoissonFactors:
    """A model of 5 counts, in double precision."""
    model = PoissonFactors(5, latent_dim).double()
    with torch.no_grad():
        model.log_shape.fill_(shape).log_()
        model.log_mean.fill_(mean).log_()
    return model


def log_evidence_of_one_factor(model: PoissonFactors, x: Tensor) -> Tensor:
    """log p(x) (N,), K = 1: a negative binomial total, shared out by a multinomial."""
    shape, rate, total = model.shape, model.rate, x.sum(-1)
    negative_binomial = torch.lgamma(shape + total) - torch.lgamma(shape) - torch.lgamma(total + 1)
    negative_binomial = negative_binomial + shape * rate.log() - (shape + total) * (rate + 1).log()
    multinomial = torch.lgamma(total + 1) - torch.lgamma(x + 1).sum(-1)
    return negative_binomial + multinomial + (x * model.loadings.log()).sum(-1)


def test_loadings_are_distributions_over_the_dimensions() -> None:
    model = PoissonFactors(5, 3)
    assert model.loadings.shape == (3, 5) and (model.loadings > 0).all()
    assert torch.allclose(model.loadings.sum(-1), torch.ones(3))


def test_simulated_counts_have_the_mean_and_covariance_of_the_formulas() -> None:
    model = known()
    x = model(size=200_000).detach()
    assert torch.equal(x, x.round()) and (x >= 0).all()
    # five standard errors of a mean, and the relative error of a variance of such skewed counts
    error = 5 * (model.covariance().diagonal() / len(x)).sqrt()
    assert ((x.mean(0) - model.mean()).abs() < error).all()
    assert torch.allclose(x.T.cov(), model.covariance(), rtol=0.03, atol=0.05)


def test_counts_are_over_dispersed_by_what_the_factors_add() -> None:
    model = known()
    excess = model.covariance().diagonal() - model.mean()
    parts = (model.log_mean.exp()[:, None] * model.loadings) ** 2 / model.shape[:, None]
    assert torch.allclose(excess, parts.sum(0)) and (excess > 0).all()


def test_one_factor_is_conjugate_and_its_evidence_is_a_negative_binomial() -> None:
    model = known(latent_dim=1)
    x = model(size=6).detach()
    posterior = Gamma(model.shape + x.sum(-1, keepdim=True), model.rate + 1)
    for theta in (0.3, 4.0, 25.0):  # Bayes' rule gives the same evidence whatever theta
        theta = torch.full((6, 1), theta, dtype=x.dtype)
        joint = Gamma(model.shape, model.rate).log_prob(theta)[:, 0]
        joint = joint + Poisson(theta @ model.loadings).log_prob(x).sum(-1)
        evidence = joint - posterior.log_prob(theta)[:, 0]
        assert torch.allclose(evidence, log_evidence_of_one_factor(model, x))


def test_start_from_takes_the_scale_of_the_data_and_keeps_factors_apart() -> None:
    x = known()(size=500).detach().float()
    model = PoissonFactors(5, 3)
    before = model.logits.detach().clone()
    assert torch.allclose(model.start_from(x).mean().sum(), x.sum(-1).mean())
    moved = model.logits.detach() - before
    assert torch.allclose(moved, moved[:1].expand(3, 5), atol=1e-6)  # all by the same profile


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(3, 4), r"\(3, 4\)"),
        (torch.zeros(3, 5, dtype=torch.long), "int64"),
        (torch.full((3, 5), -1.0), "whole numbers from 0"),
        (torch.full((3, 5), 0.5), "whole numbers from 0"),
        (torch.full((3, 5), torch.nan), "whole numbers from 0"),
    ],
)
def test_data_that_are_no_counts_are_named(x: Tensor, message: str) -> None:
    model = PoissonFactors(5, 2)
    for use in (model, model.start_from):
        with pytest.raises(InputError, match=message):
            use(x)


def test_counts_that_are_all_zero_give_no_scale() -> None:
    with pytest.raises(InputError, match="no count above zero"):
        PoissonFactors(5, 2).start_from(torch.zeros(3, 5))


@pytest.mark.parametrize("sizes", [(0, 2), (5, 0)])
def test_sizes_below_one_are_named(sizes: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="at least 1"):
        PoissonFactors(*sizes)
