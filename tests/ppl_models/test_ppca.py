from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits
from torch.distributions import MultivariateNormal

from guides.ppca import PPCAGuide
from inference import check
from inference.metrics.linear import principal_angles
from ppl_models.errors import InputError
from ppl_models.ppca import PPCA, LinearAutoencoder


def build(data_dim: int = 6, latent_dim: int = 2, scale: float = 0.3) -> PPCA:
    """A model with parameters of its own, in double precision."""
    model = PPCA(data_dim, latent_dim).double()
    with torch.no_grad():
        model.mean.copy_(torch.randn(data_dim))
        model.log_scale.fill_(torch.tensor(scale).log())
    return model


def covariance(model: PPCA) -> torch.Tensor:
    noise = (2 * model.log_scale).exp() * torch.eye(model.data_dim, dtype=torch.float64)
    return model.weight @ model.weight.T + noise


def digits() -> torch.Tensor:
    return torch.tensor(load_digits().data / 16, dtype=torch.float32)


@pytest.mark.parametrize("scale", [1.0, 0.3, 1e-4])
def test_evidence_is_that_of_the_dense_gaussian(scale: float) -> None:
    model = build(scale=scale)
    x = model(size=50).detach()
    dense = MultivariateNormal(model.mean, covariance(model)).log_prob(x)
    # the dense form is the one that loses digits, as the square of the ratio of W to the noise
    assert torch.allclose(model.evidence(x), dense, rtol=1e-6)


def test_evidence_holds_with_little_noise_in_single_precision() -> None:
    model = build(20, 3, scale=1e-3)
    x = model(size=50).detach()
    exact = model.evidence(x)
    assert torch.allclose(model.float().evidence(x.float()).double(), exact, rtol=1e-2)


def test_posterior_is_bayes_rule() -> None:
    model = build()
    x, z = model(size=5).detach(), torch.randn(4, 1, 2, dtype=torch.float64)
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
    noise = torch.distributions.Normal(model.decode(z), model.log_scale.exp())
    joint = prior + noise.log_prob(x).sum(-1)
    assert torch.allclose(joint - model.posterior(x).log_prob(z), model.evidence(x).expand(4, 5))


def test_missing_numbers_are_left_out_and_never_read() -> None:
    model = build()
    x, mask = model(size=8).detach(), torch.rand(8, 6) < 0.6
    mask[0], mask[1] = False, True
    hidden = torch.where(mask, x, torch.nan)
    found = model.evidence(hidden, mask)
    for row, observed, value in zip(x, mask, found, strict=True):
        part = MultivariateNormal(model.mean[observed], covariance(model)[observed][:, observed])
        expected = part.log_prob(row[observed]) if observed.any() else torch.zeros(())
        assert torch.isclose(value, expected.double())
    assert torch.allclose(model.posterior(hidden, mask).mean[0], torch.zeros(2).double())
    found.sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_the_exact_fit_is_a_maximum_and_that_of_the_covariance() -> None:
    x = torch.randn(200, 5) @ torch.randn(5, 5) + torch.randn(5)
    model = PPCA(5, 2).fit_exact(x)
    values, axes = torch.linalg.eigh(torch.cov(x.T, correction=0))
    noise = values[:3].mean()
    assert torch.isclose((2 * model.log_scale).exp(), noise, rtol=1e-4)
    assert torch.allclose(model.weight.square().sum(0), values[3:].flip(0) - noise, rtol=1e-3)
    assert principal_angles(model.weight, axes[:, 3:]).max() < 1e-3
    model.evidence(x).mean().backward()
    assert all(p.grad.abs().max() < 1e-4 for p in model.parameters())


def test_the_exact_fit_says_what_it_cannot_do() -> None:
    x = torch.randn(20, 2) @ torch.randn(2, 5)
    for latent_dim in (2, 5):
        with pytest.raises(InputError, match="smaller latent_dim"):
            PPCA(5, latent_dim).fit_exact(x)
    with pytest.raises(InputError, match="NaN or infinite"):
        PPCA(5, 1).fit_exact(torch.full((20, 5), torch.nan))
    with pytest.raises(InputError, match="data_dim, latent_dim"):
        PPCA(5, 0)


def test_a_constant_number_and_one_datum_have_an_evidence() -> None:
    x = torch.cat([torch.randn(50, 4), torch.ones(50, 1)], 1)
    model = PPCA(5, 1).fit_exact(x)
    assert model.evidence(x[:1]).isfinite().all() and model.evidence(x[:1]).shape == (1,)


@pytest.mark.parametrize("mask", [None, torch.tensor([[True, True, False, False, True]] * 6)])
def test_the_pair_passes_check(mask: torch.Tensor | None) -> None:
    x = torch.randn(6, 5)
    x = x if mask is None else x.masked_fill(~mask, torch.nan)
    for covariance in ("full", "diagonal"):
        model = PPCA(5, 2)
        report = check(model, PPCAGuide(model, covariance=covariance), x, mask)
        assert {row.name for row in report.sites} >= {"z", "x"}


def test_a_mask_of_another_shape_is_an_error() -> None:
    for mask in (torch.ones(3, 4, dtype=torch.bool), torch.ones(3, 5)):
        with pytest.raises(InputError, match="mask"):
            PPCA(5, 2).evidence(torch.randn(3, 5), mask)


def test_the_linear_autoencoder_spans_the_principal_axes_by_algebra_and_by_gradient() -> None:
    x = digits()
    x = x[:, x.std(0) > 0]
    exact, learned = (LinearAutoencoder(x.shape[1], 4) for _ in range(2))
    exact.fit_exact(x)
    learned.centre_on(x)
    start = learned(x).item()
    optimizer = torch.optim.LBFGS(learned.parameters(), max_iter=150, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = learned(x)
        value.backward()
        return value

    optimizer.step(loss)
    axes = torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[:4].T
    assert principal_angles(exact.weight, axes).max() < 1e-3
    assert start > 1.5 * exact(x).item()
    assert abs(learned(x).item() / exact(x).item() - 1) < 1e-5
    assert principal_angles(learned.weight, axes).max() < 1e-3


def test_a_compression_to_more_numbers_is_an_error() -> None:
    with pytest.raises(InputError, match="latent_dim"):
        LinearAutoencoder(3, 4)


@pytest.mark.slow
def test_trained_by_fit_the_bound_is_the_evidence_and_the_axes_are_pca_s() -> None:
    from benchmarks.linear import linear_vae

    x = digits()[torch.randperm(1797)]
    x = x - x[:1500].mean(0)
    exact = PPCA(64, 4).fit_exact(x[:1500])
    result = linear_vae(x[:1500], 4, seed=0).judge(x[1500:], exact)
    assert 0 <= result.gap < 0.01  # nats a datum, on new digits
    assert abs(result.regret) < 0.05
    assert result.angle < 0.05
