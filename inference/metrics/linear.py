"""How far two linear maps are apart, where only their span, or their columns' names, can differ."""

from __future__ import annotations

import torch
from torch import Tensor


def principal_angles(first: Tensor, second: Tensor) -> Tensor:
    """Return the angles between the spans of two matrices (D, L), (L,) in radians, ascending.

    From the sines, which resolve small angles, where the cosines round to one (Bjorck and Golub
    1973).
    """
    a, b = (torch.linalg.qr(matrix.detach().double()).Q for matrix in (first, second))
    sines = torch.linalg.svdvals(b - a @ (a.T @ b))
    return sines.clamp(max=1).asin().flip(0)


def amari_distance(estimated: Tensor, true: Tensor) -> float:
    r"""Return how far an estimated mixing (D, D) is from the true one: 0, the same columns, to 1.

    Order, signs and lengths of the columns do not count (Amari, Cichocki and Yang 1996): with
    :math:`R = |\hat W^{-1} W|` it is the mean over rows and columns of
    :math:`(\mathrm{sum} / \mathrm{max} - 1) / (D - 1)`.
    """
    ratio = torch.linalg.solve(estimated.detach().double(), true.detach().double()).abs()
    excess = [(ratio.sum(dim) / ratio.amax(dim) - 1).mean() for dim in (0, 1)]
    return float(sum(excess) / 2 / max(len(ratio) - 1, 1))
