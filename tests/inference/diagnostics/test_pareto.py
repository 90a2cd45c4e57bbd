from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from pyro.ops.stats import fit_generalized_pareto

from inference.diagnostics.pareto import fit_tail, khat_error, quantiles, smooth


def heavy(shape: float, draws: int, seed: int = 0) -> torch.Tensor:
    """Log weights whose tail is a generalized Pareto distribution of this shape."""
    u = torch.rand(draws, 3, dtype=torch.double, generator=torch.Generator().manual_seed(seed))
    return ((u**-shape - 1) / shape).log()


@pytest.mark.parametrize("draws", [100, 1000])
def test_smoothing_agrees_with_arviz(draws):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*ArviZ is undergoing", FutureWarning)
        import arviz
    if int(arviz.__version__.split(".")[0]) >= 1:
        pytest.skip("ArviZ 1.x moved psislw")
    log_weights = torch.randn(draws, 4, generator=torch.Generator().manual_seed(1)).double() * 2
    theirs, k = arviz.psislw(log_weights.T.numpy())
    ours, khat = smooth(log_weights)
    assert np.allclose(khat.numpy(), k, atol=1e-8)
    assert np.allclose(ours.T.numpy(), theirs, atol=1e-8)


def test_the_fit_agrees_with_pyro_on_one_vector():
    excess = heavy(0.4, 200).exp()[:, 0].sort().values
    k, scale = fit_tail(excess.unsqueeze(1))
    theirs = fit_generalized_pareto(excess)
    # Pyro takes the quartile's index one lower: the same to the statistical error, not to rounding
    assert abs(float(k) - theirs[0]) < 0.01 and abs(float(scale) / theirs[1] - 1) < 0.01


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.9])
def test_the_shape_of_a_known_tail_is_found(shape):
    _, khat = smooth(heavy(shape, 40_000))
    # standard error of a shape from 600 exceedances: (1 + k) / sqrt(600) <= 0.08
    assert (khat - shape).abs().max() < 0.2


def test_equal_weights_have_no_tail():
    weights, khat = smooth(torch.full((100, 2), -3.0) + 1e-6 * torch.randn(100, 2))
    assert (khat == -torch.inf).all()
    assert torch.allclose(weights.exp().sum(0), torch.ones(2).double())


def test_weights_with_no_tail_to_fit_are_not_trusted():
    assert (smooth(torch.randn(15, 2))[1] == torch.inf).all()
    mostly_zero = torch.full((100, 1), -torch.inf)
    mostly_zero[:3] = 0
    weights, khat = smooth(mostly_zero)
    assert khat.item() == torch.inf
    assert not weights.isnan().any()


def test_quantiles_of_an_exponential_are_the_limit_of_small_shapes():
    scale = torch.tensor([2.0], dtype=torch.double)
    flat = quantiles(torch.zeros(1).double(), scale, 10)
    near = quantiles(torch.full((1,), 1e-6).double(), scale, 10)
    assert torch.allclose(flat, near, atol=1e-4) and (flat.diff(dim=0) > 0).all()


@pytest.mark.parametrize("draws", [500, 5000])
@pytest.mark.parametrize("shape", [0.2, 0.7])
def test_the_error_of_khat_is_its_spread_over_replications(draws, shape):
    random = torch.Generator().manual_seed(1)
    u = torch.rand(draws, 300, dtype=torch.double, generator=random)
    khat = smooth(((u**-shape - 1) / shape).log())[1]
    said = float(khat_error(khat, draws).mean())
    # the standard error of a spread from 300 replications is 4 % of it
    assert abs(float(khat.std()) / said - 1) < 0.13
    assert abs(float(khat.mean()) - shape) < said  # the prior draws k-hat towards a half


def test_the_error_of_khat_of_normal_ratios_is_right_too():
    u = torch.randn(1000, 300, dtype=torch.double, generator=torch.Generator().manual_seed(2))
    khat = smooth(0.5 * 0.6 * u**2)[1]  # p / q of normals with variances 1 and 0.4
    assert abs(float(khat.std()) / float(khat_error(khat, 1000).mean()) - 1) < 0.13


def test_a_khat_that_is_not_estimated_has_no_error_or_an_infinite_one():
    error = khat_error(torch.tensor([-torch.inf, torch.inf, 0.5]), 1000)
    assert error[0] == 0 and error[1] == torch.inf
    assert float(error[2]) == pytest.approx(1.5 * 95**0.5 / 105)


def test_largest_weights_that_agree_are_a_tail_that_is_a_point():
    # as of a guide of one Bernoulli: two weights, both finite, whatever the number of draws
    few = torch.full((200, 1), -1.0).index_fill(0, torch.arange(150), 1e-5)
    smoothed, khat = smooth(few)
    assert khat == -torch.inf
    assert torch.allclose(smoothed, few.double().log_softmax(0))
