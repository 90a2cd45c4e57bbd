"""Draws of a posterior out of weighted ones."""

from __future__ import annotations

import torch
from torch import Tensor


def systematic(log_weights: Tensor, num_samples: int) -> Tensor:
    """Choose draws by systematic resampling, which has the least noise of the usual ways.

    Kitagawa (1996), "Monte Carlo filter and smoother for non-Gaussian nonlinear state space
    models", J. Comput. Graph. Stat. 5(1), appendix: one uniform number a column, then equal steps.

    Parameters
    ----------
    log_weights
        ``(S, B)``, each column normalised.
    num_samples
        How many to choose.

    Returns
    -------
    Tensor
        ``(num_samples, B)``: indices of draws, shuffled, so that columns are independent.
    """
    columns = log_weights.T.double()
    start = torch.rand(len(columns), 1, dtype=torch.double)
    levels = (torch.arange(num_samples, dtype=torch.double) + start) / num_samples
    chosen = torch.searchsorted(columns.exp().cumsum(1), levels).clamp(max=columns.shape[1] - 1)
    shuffled = torch.rand(chosen.shape).argsort(1)
    return chosen.gather(1, shuffled).T


def resample(values: Tensor, index: Tensor, axis: int | None) -> Tensor:
    """Take draws by index.

    Parameters
    ----------
    values
        ``(S, ...)``.
    index
        ``(R, 1)``, or ``(R, B)`` with indices for each element of an axis.
    axis
        That axis of `values`; None where all is taken together, by the first column.
    """
    if axis is None:
        return values[index[:, 0]]
    moved = values.movedim(axis, 1)
    return moved[index, torch.arange(index.shape[1])].movedim(1, axis)
