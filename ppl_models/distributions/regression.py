"""Linear regression of numbers whose values are known in expectation: an M step of EM."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LEAST = 1e-12
"""Least variance, and least weight that counts."""


class RegressionMoments(NamedTuple):
    """Moments of the inputs of a regression, or of its outputs."""

    mean: Tensor
    """(B, T, L) of inputs, or (B, T, D) of outputs."""
    cov: Tensor
    """(B, T, L, L) of inputs, or its diagonal (B, T, D) of outputs."""
    cross: Tensor
    """(B, T, D, L): covariance of outputs with inputs."""


def regress(
    target: tuple[Tensor, ...], x: RegressionMoments, y: RegressionMoments, weight: Tensor
) -> None:
    """Put the best y = W x + d + noise, expected over x and y, into (log scale, W, d).

    ``weight`` (B, T, D) is of each frame in the regression of each number of y, or (B, T, 1); a
    number without any keeps what it has.
    """
    log_scale, matrix, offset = target
    total = weight.sum((0, 1)).clamp(LEAST)  # (D) or (1), as are dims called r
    x_mean = torch.einsum("btr,btl->rl", weight, x.mean) / total[:, None]
    y_mean = (weight * y.mean).sum((0, 1)) / total
    dx, dy = x.mean[..., None, :] - x_mean, y.mean - y_mean
    xx = torch.einsum("btr,btrl,btrm->rlm", weight, dx, dx)
    xx = xx + torch.einsum("btr,btlm->rlm", weight, x.cov)
    yx = (weight[..., None] * (dy[..., None] * dx + y.cross)).sum((0, 1))  # (D, L)
    kept = (weight.sum((0, 1)) > LEAST).expand(len(offset))
    xx = torch.where(kept[:, None, None], xx, torch.eye(xx.shape[-1]).to(xx))
    best = torch.linalg.solve(xx, yx[..., None])[..., 0]
    left = dy - (dx * best).sum(-1)
    left = left.square() + y.cov  # a sum of squares, and then what x explains
    left = left - 2 * (y.cross * best).sum(-1)
    left = left + torch.einsum("dl,btlm,dm->btd", best, x.cov, best)
    variance = (weight * left).sum((0, 1)) / total
    fitted = 0.5 * variance.clamp(LEAST).log(), best, y_mean - (best * x_mean).sum(-1)
    for old, new in zip((log_scale, matrix, offset), fitted, strict=True):
        old.copy_(torch.where(kept.reshape(-1, *[1] * (old.dim() - 1)), new, old))
