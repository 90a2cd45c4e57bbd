"""Distances of q(z) and the prior, against closed forms."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inference.objectives.penalties import MMD, SlicedWasserstein
from ppl_models.errors import InputError
from tests.inference.objectives.penalties.views import affine, gradients, view


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_mmd_is_zero_in_the_mean_where_codes_are_the_priors(kernel: Any) -> None:
    """Unbiased: the mean of 200 batches of 16 is within 3.5 s.e. of 0, and some are below."""
    penalty, pair = MMD(1.0, kernel), affine(dim=2)
    with torch.no_grad():
        found = torch.stack([penalty(view(*pair, torch.randn(16, 2))) for _ in range(200)])
    assert abs(found.mean()) < 3.5 * found.std() / 200**0.5
    assert found.min() < 0


def test_mmd_of_shifted_gaussians_by_a_gaussian_kernel() -> None:
    """E k(z, z') = (1 + 2/w)^(-1/2) exp(-d^2 / (w + 2) / ...), for variances 1 and 1, in one dim.

    With r = z - z' ~ N(d, 2) and k = exp(-r^2 / C): E k = (1 + 4/C)^(-1/2) exp(-d^2 / (C + 4)).
    """
    penalty, shift, width = MMD(1.0, "rbf", scales=(1.5,)), 1.2, 3.0  # C = 2 D sigma^2 s
    near = (1 + 4 / width) ** -0.5
    expected = 2 * near * (1 - torch.tensor(-(shift**2) / (width + 4)).exp().item())
    pair = affine(dim=1, shift=shift)
    with torch.no_grad():
        found = torch.stack([penalty(view(*pair, torch.randn(100, 1))) for _ in range(100)])
    assert abs(found.mean() - expected) < 4 * found.std() / 10


def test_mmd_against_pairs_by_hand() -> None:
    trace = view(*affine(), torch.randn(4, 3))
    torch.manual_seed(5)
    found = MMD(1.0, scales=(0.5, 2.0), variance=1.5)(trace).item()
    torch.manual_seed(5)
    prior, z = torch.randn(4, 3), trace.q["z"]["value"]

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        return sum(c / (c + (a - b).square().sum().item()) for c in (9 * 0.5, 9 * 2.0))

    pairs = [(i, j) for i in range(4) for j in range(4)]
    within = sum(kernel(s[i], s[j]) for s in (z, prior) for i, j in pairs if i != j) / 12
    between = sum(kernel(z[i], prior[j]) for i, j in pairs) / 8
    assert found == pytest.approx(within - between, abs=1e-5)


def test_sliced_distance_of_shifted_gaussians() -> None:
    """W_2^2 of N(d, I) and N(0, I) along u is (d u)^2, of mean |d|^2 / D over the sphere.

    Batches move it by 3 % or so, and 1000 directions by 3 %.
    """
    penalty = SlicedWasserstein(1.0, projections=1000)
    found = penalty(view(*affine(dim=4, shift=1.5), torch.randn(1000, 4))).item()
    assert found == pytest.approx(1.5**2, rel=0.12)


@pytest.mark.parametrize(("p", "expected"), [(1.0, 2.0), (2.0, 4.25), (3.0, 9.5)])
def test_sliced_distance_in_one_dim_is_the_distance(p: float, expected: float) -> None:
    """Of N(2, 0.5^2) and N(0, 1): quantiles differ by r = 2 - 0.5 e, E r^2 = 4.25, E r^3 = 9.5."""
    model, guide = affine(dim=1, shift=2.0, scale=0.3)
    with torch.no_grad():
        guide.weight.fill_(0.4)  # 0.4^2 + 0.3^2 = 0.5^2
        penalty = SlicedWasserstein(1.0, projections=2, p=p)
        trace = [penalty(view(model, guide, torch.randn(4000, 1))) for _ in range(5)]
    assert torch.stack(trace).mean().item() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("penalty", [MMD(1.0), SlicedWasserstein(1.0)], ids=["MMD", "sliced"])
def test_its_gradient_brings_codes_to_the_prior(penalty: Any) -> None:
    model, guide = affine(shift=2.0)
    assert gradients(penalty(view(model, guide, torch.randn(40, 3))), guide) == [True] * 3
    optimizer = torch.optim.Adam([guide.weight, guide.shift], 0.05)
    for _ in range(60):
        optimizer.zero_grad()
        penalty(view(model, guide, torch.randn(64, 3))).backward()
        optimizer.step()
    covariance = guide.weight @ guide.weight.T + guide.scale.square().diag()
    assert guide.shift.abs().max() < 0.3
    assert (covariance - torch.eye(3)).abs().max() < 0.5  # from 0.9, and 1.06 on the diagonal


def test_a_learned_prior_learns_from_it() -> None:
    model, guide = affine(shift=2.0)
    assert gradients(MMD(1.0)(view(model, guide, torch.randn(40, 3))), model) == [True]


@pytest.mark.parametrize("penalty", [MMD(1.0), SlicedWasserstein(1.0)], ids=["MMD", "sliced"])
def test_double_precision_stays(penalty: Any) -> None:
    model, guide = (part.double() for part in affine())
    assert penalty(view(model, guide, torch.randn(9, 3).double())).dtype == torch.float64


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: MMD(1.0, "cauchy"), "kernel"),  # type: ignore[arg-type]
        (lambda: MMD(1.0, scales=()), "scales"),
        (lambda: MMD(1.0, scales=(1.0, 0.0)), "scales"),
        (lambda: MMD(1.0, variance=-1.0), "variance"),
        (lambda: SlicedWasserstein(1.0, 0), "projections"),
        (lambda: SlicedWasserstein(1.0, p=0.5), "p"),
    ],
)
def test_settings_are_looked_at(make: Any, argument: str) -> None:
    with pytest.raises(InputError) as found:
        make()
    assert found.value.argument == argument
