from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import Tensor

from inference.metrics.frechet import frechet_distance, frechet_of_features
from ppl_models.errors import InputError


def moments(seed: int, size: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return torch.randn(size, generator=generator, dtype=torch.float64), root @ root.mT


def test_the_distance_is_the_closed_form_of_the_papers() -> None:
    (m1, c1), (m2, c2) = moments(0), moments(1)
    root = linalg.sqrtm((c1 @ c2).numpy())
    exact = float((m1 - m2).square().sum() + c1.trace() + c2.trace()) - 2 * np.trace(root).real
    assert math.isclose(frechet_distance(m1, c1, m2, c2), exact, rel_tol=1e-10)
    assert math.isclose(frechet_distance(m2, c2, m1, c1), exact, rel_tol=1e-10)
    one, two = torch.tensor([3.0]), torch.tensor([[4.0]])  # (3 - 0)^2 + (2 - 1)^2
    assert math.isclose(frechet_distance(one, two, 0 * one, two / 4), 10.0)
    assert frechet_distance(m1, c1, m1, c1) < 1e-13 * float(c1.trace())


def test_covariances_without_full_rank_have_a_distance() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(3, 8, generator=generator, dtype=torch.float64)
    low, other = rows.mT @ rows, torch.eye(8, dtype=torch.float64)
    zero = torch.zeros(8, dtype=torch.float64)
    exact = float(low.trace()) + 8 - 2 * float(torch.linalg.svdvals(rows).sum())
    assert math.isclose(frechet_distance(zero, low, zero, other), exact, rel_tol=1e-9)


def gaussian(seed: int, things: int, which: int, rows: int = 10) -> list[Tensor]:
    mean, cov = moments(which)
    draw = torch.randn(
        things, rows, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return list(mean + draw @ torch.linalg.cholesky(cov).mT)


@pytest.mark.parametrize("seed", range(4))
def test_sets_of_two_gaussians_are_as_far_apart_as_the_gaussians(seed: int) -> None:
    exact = frechet_distance(*moments(0), *moments(1))
    found = frechet_of_features(gaussian(seed, 200, 0), gaussian(seed + 50, 150, 1), batches=20)
    assert found.windows == (2000, 1500) and 0 < found.error < 0.1 * exact
    assert abs(found.distance - found.bias - exact) < 4 * found.error  # standard errors


def test_the_jackknife_knows_the_bias_and_the_error_of_small_sets() -> None:
    runs = [
        frechet_of_features(gaussian(seed, 20, 0, 5), gaussian(1000 + seed, 20, 0, 5), batches=20)
        for seed in range(60)
    ]
    distance, bias = (torch.tensor([run[i] for run in runs]) for i in (0, 2))
    left = distance - bias  # the truth is 0
    assert distance.mean() > 10 * distance.std() / math.sqrt(60)
    assert left.mean().abs() < 0.3 * distance.mean()
    far = [
        frechet_of_features(gaussian(seed, 40, 0), gaussian(1000 + seed, 40, 1), batches=10)
        for seed in range(60)
    ]
    spread = float(torch.tensor([run.distance for run in far]).std())
    claimed = float(torch.tensor([run.error for run in far]).square().mean().sqrt())
    assert 0.7 < claimed / spread < 1.4  # sd of a standard deviation of 60 is 9 %, and of the mean


def test_what_is_wrong_is_named() -> None:
    mean, cov = moments(0)
    with pytest.raises(InputError, match=r"\(4,\), \(4, 4\), \(3,\)"):
        frechet_distance(mean, cov, mean[1:], cov)
    with pytest.raises(InputError, match="not finite"):
        frechet_distance(mean * math.nan, cov, mean, cov)
    rows = gaussian(0, 3, 0)
    with pytest.raises(InputError, match="batches"):
        frechet_of_features(rows, rows, batches=1)
    with pytest.raises(InputError, match="generated: saw 2\n"):
        frechet_of_features(rows, rows[:2], batches=3)
