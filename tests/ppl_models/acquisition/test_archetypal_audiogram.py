from __future__ import annotations

import pytest
import torch
from torch.distributions import Dirichlet, Normal

import ppl_models
from ppl_models.acquisition import ArchetypalAudiogram
from ppl_models.acquisition.archetypal_audiogram import LIBRARY, uniform_simplex
from ppl_models.data import audiograms
from ppl_models.errors import InputError
from tests.cures import evaluated

NAN = float("nan")


def two_archetypes() -> ArchetypalAudiogram:
    """One weight is uniform, so the posterior is an integral over one number."""
    return ArchetypalAudiogram(torch.tensor([[0.0, 10.0, 5.0], [20.0, -10.0, 5.0]]), scale=4.0)


def by_integral(model: ArchetypalAudiogram, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Evidence, then mean and variance of each number (7,), by the midpoint rule."""
    share = (torch.arange(20_000).double() + 0.5) / 20_000
    w = torch.stack([share, 1 - share], -1)
    y = w @ model.archetypes.double()
    density = Normal(y[:, seen], model.scale).log_prob(x[seen].double()).sum(-1).exp()
    mean = (density[:, None] * y).mean(0) / density.mean()
    variance = (density[:, None] * (y - mean) ** 2).mean(0) / density.mean()
    return torch.cat([density.mean().log()[None], mean, variance + model.scale**2])


def test_the_ideal_posterior_is_the_integral() -> None:
    model = two_archetypes()
    x = torch.tensor([[3.0, 8.0, NAN], [NAN, NAN, NAN], [15.0, NAN, 4.0]])
    found = model.ideal(x, x.isfinite(), num_samples=200_000)
    mean, variance = model.predict(found)
    assert found.w.shape == (200_000, 2) and found.weights.shape == (200_000, 3)
    assert torch.allclose(found.weights.sum(0), torch.ones(3).double())
    for row in (0, 2):
        exact = by_integral(model, x[row], x[row].isfinite())
        said = torch.cat([found.log_evidence[row, None], mean[row], variance[row]])
        # Monte Carlo: five standard errors of the mean of some 20 dB are 5 * 20 / sqrt(70,000)
        assert torch.allclose(said, exact, atol=0.4, rtol=0.01)
        assert found.log_evidence[row].item() == pytest.approx(exact[0].item(), abs=0.02)


def test_nothing_observed_leaves_the_prior() -> None:
    model = ArchetypalAudiogram()
    x = torch.full((2, 15), NAN)
    found = model.ideal(x, x.isfinite(), num_samples=5000)
    assert torch.allclose(found.weights, torch.full((5000, 2), 1 / 5000).double())
    assert torch.allclose(found.effective_size, torch.full((2,), 5000.0).double())
    assert torch.equal(found.log_evidence.abs() < 1e-9, torch.tensor([True, True]))
    mean, variance = model.predict(found)
    exact_mean, exact_spread = model.prior_moments()
    spread = exact_spread.double()
    assert ((mean[0] - exact_mean).abs() < 5 * spread / 5000**0.5).all()
    assert torch.allclose(variance[0].sqrt(), spread, rtol=5 / 5000**0.5)


def test_log_weights_are_the_likelihood_for_any_mask_and_units() -> None:
    """Squares are multiplied out: nothing may cancel, whatever the level."""
    people = audiograms(6)
    for level in (0.0, 1e4):
        model = ArchetypalAudiogram(people.archetypes.double() + level)
        x, mask = people.x.double() + level, torch.rand(6, 15) < 0.5
        found = model.ideal(x.masked_fill(~mask, NAN), mask, num_samples=50)
        y = found.w @ model.archetypes
        log_prob = Normal(y[:, None], 5.0).log_prob(x).masked_fill(~mask, 0).sum(-1)
        assert torch.allclose(found.weights, log_prob.softmax(0), rtol=1e-6)
        expected = log_prob.logsumexp(0) - torch.tensor(50.0).log()
        assert torch.allclose(found.log_evidence, expected)


def test_the_effective_size_falls_with_what_is_measured_and_seeds_decide() -> None:
    people, model = audiograms(50), ArchetypalAudiogram()
    none = torch.zeros(50, 15, dtype=torch.bool)
    some, every = none.clone(), ~none
    some[:, :3] = True
    sizes = [model.ideal(people.x, mask).effective_size.mean() for mask in (none, some, every)]
    assert sizes[0] > sizes[1] > sizes[2] > 20
    assert torch.equal(model.ideal(people.x).weights, model.ideal(people.x, every).weights)
    assert torch.equal(model.ideal(people.x, seed=1).w, model.ideal(people.x, seed=1).w)
    assert not torch.equal(model.ideal(people.x, seed=1).w, model.ideal(people.x).w)


def test_the_default_library_says_what_a_larger_one_says() -> None:
    """To a quarter of a dB, against 5 dB of noise, so that it is no worse as an oracle."""
    people, model = audiograms(100), ArchetypalAudiogram()
    mask = torch.rand(100, 15) < 0.5
    means = [
        model.predict(model.ideal(people.x, mask, num_samples=size, seed=size))[0]
        for size in (LIBRARY, 100_000)
    ]
    assert (means[0] - means[1]).square().mean().sqrt() < 0.25
    rmse = [(mean - people.y).square().mean().sqrt().item() for mean in means]
    assert rmse[0] == pytest.approx(rmse[1], rel=0.01)


def test_the_library_is_of_uniform_draws_of_the_simplex() -> None:
    w = uniform_simplex(2**14, 4, seed=3)
    assert torch.allclose(w.sum(-1), torch.ones(2**14).double()) and (w >= 0).all()
    exact = Dirichlet(torch.ones(4).double())
    # Sobol points: far below the 5e-3 of as many independent draws
    assert torch.allclose(w.mean(0), exact.mean, atol=5e-4)
    assert torch.allclose(w.var(0), exact.variance, atol=5e-4)
    assert torch.cov(w.T)[0, 1:].tolist() == pytest.approx([-1 / 80] * 3, abs=5e-4)


def test_an_outlier_has_finite_weights() -> None:
    model = ArchetypalAudiogram()
    found = model.ideal(torch.full((1, 15), 1e6))
    assert found.weights.isfinite().all() and found.log_evidence.isfinite().all()
    assert found.weights.sum().item() == pytest.approx(1.0)


def test_simulated_people_are_blends_with_noise() -> None:
    model = ArchetypalAudiogram(scale=2.0)
    x = model(size=20_000).detach()
    mean, spread = model.prior_moments()
    assert ((x.mean(0) - mean).abs() < 5 * spread / 20_000**0.5).all()
    assert torch.allclose(x.std(0), spread, rtol=5 / (2 * 20_000) ** 0.5)
    assert isinstance(model.prior(), Dirichlet)


def test_archetypes_are_learned_if_asked_for() -> None:
    assert not ArchetypalAudiogram().archetypes.requires_grad
    assert ArchetypalAudiogram(learn=True).archetypes.requires_grad


def test_wrong_settings_and_data_are_errors_whose_cures_work() -> None:
    for archetypes in (torch.zeros(3), torch.zeros(1, 3), torch.full((3, 3), NAN)):
        with pytest.raises(InputError, match="archetypes") as caught:
            ArchetypalAudiogram(archetypes)
        cured = evaluated(caught.value.cure, ppl_models=ppl_models)
        assert ArchetypalAudiogram(cured).data_dim == 15
    with pytest.raises(InputError, match="scale"):
        ArchetypalAudiogram(scale=0.0)
    model = ArchetypalAudiogram()
    with pytest.raises(InputError, match="num_samples"):
        model.ideal(torch.zeros(1, 15), num_samples=0)
    x = torch.full((2, 15), NAN)
    with pytest.raises(InputError, match="NaN") as caught:
        model.ideal(x)
    assert caught.value.cure == "mask = x.isfinite()"
    assert model.ideal(x, x.isfinite()).weights.isfinite().all()
    with pytest.raises(InputError, match="mask"):
        model.ideal(torch.zeros(2, 15), torch.ones(2, 15))
