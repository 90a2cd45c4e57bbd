"""Regression of expected values against least squares of many drawn ones."""

from __future__ import annotations

import torch

from ppl_models.distributions import RegressionMoments, regress

B, T, D, L = 3, 8, 2, 2


def test_each_output_is_the_least_squares_of_the_frames_where_it_counts() -> None:
    """Without covariances: torch's lstsq of those rows, with a column of ones."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(B, T, L, generator=generator).double()
    y = torch.randn(B, T, D, generator=generator).double()
    weight = (torch.rand(B, T, D, generator=generator) < 0.6).double()
    target = torch.zeros(D).double(), torch.zeros(D, L).double(), torch.zeros(D).double()
    none = torch.zeros(B, T, L, L).double(), torch.zeros(B, T, D).double()
    cross = torch.zeros(B, T, D, L).double()
    inputs = RegressionMoments(x, none[0], none[0])
    regress(target, inputs, RegressionMoments(y, none[1], cross), weight)
    for d in range(D):
        rows = weight[..., d].bool()
        design = torch.cat([x[rows], torch.ones(int(rows.sum()), 1).double()], -1)
        best = torch.linalg.lstsq(design, y[rows][:, d : d + 1]).solution[:, 0]
        assert torch.allclose(target[1][d], best[:L]) and torch.allclose(target[2][d], best[L])
        left = (y[rows][:, d] - design @ best).square().mean()
        assert torch.allclose(target[0][d].mul(2).exp(), left)


def test_moments_of_inputs_and_outputs_are_those_of_draws() -> None:
    """Gaussian (x, y) at each frame: the regression of 40,000 draws of them all."""
    generator = torch.Generator().manual_seed(1)
    mean = torch.randn(B, T, L + D, generator=generator).double()
    root = 0.5 * torch.randn(B, T, L + D, L + D, generator=generator).double()
    cov = root @ root.mT
    target = torch.zeros(D).double(), torch.zeros(D, L).double(), torch.zeros(D).double()
    inputs = RegressionMoments(mean[..., :L], cov[..., :L, :L], cov[..., :L, :L])
    spread = cov[..., L:, L:].diagonal(dim1=-2, dim2=-1)
    outputs = RegressionMoments(mean[..., L:], spread, cov[..., L:, :L])
    regress(target, inputs, outputs, torch.ones(B, T, 1).double())
    noise = torch.randn(40_000, B, T, L + D, 1, generator=generator).double()
    rows = (mean + (root @ noise)[..., 0]).flatten(0, 2)
    design = torch.cat([rows[:, :L], torch.ones(len(rows), 1).double()], -1)
    best = torch.linalg.lstsq(design, rows[:, L:]).solution
    assert torch.allclose(target[1], best[:L].T, atol=5e-3)  # 960,000 rows, five errors
    assert torch.allclose(target[2], best[L], atol=5e-3)
    left = (rows[:, L:] - design @ best).square().mean(0)
    assert torch.allclose(target[0].mul(2).exp(), left, rtol=1e-2)


def test_an_output_that_was_never_seen_keeps_what_it_has() -> None:
    target = torch.ones(D).double(), torch.ones(D, L).double(), torch.ones(D).double()
    x = torch.randn(B, T, L, generator=torch.Generator().manual_seed(0)).double()
    weight = torch.ones(B, T, D).double()
    weight[..., 1] = 0
    flat, cross = torch.zeros(B, T, D).double(), torch.zeros(B, T, D, L).double()
    none = torch.zeros(B, T, L, L).double()
    outputs = RegressionMoments(x[..., :1].expand(B, T, D), flat, cross)
    regress(target, RegressionMoments(x, none, none), outputs, weight)
    for part in target:
        assert bool((part[1] == 1).all()) and part.isfinite().all()
    assert torch.allclose(target[1][0], torch.tensor([1.0, 0.0]).double(), atol=1e-9)
