r"""Gains: how loud a source of known variances is, frame by frame.

.. math:: |o_{tf}|^2 \sim \mathrm{Exponential}\Big(\frac{1}{g_t v_{tf} + r_{tf}}\Big)

A model of speech knows how loud its training data were; a gain g_t in front of it, as in the model
x = sqrt(g_t) s + n, frees it of that.

References
----------
Leglaive, Girin and Horaud, "A variance modeling framework based on variational autoencoders for
speech enhancement", MLSP 2018, arXiv:1902.01605.
Bie, Leglaive, Alameda-Pineda and Girin, "Unsupervised speech enhancement using dynamical
variational autoencoders", IEEE/ACM TASLP 2022, arXiv:2106.12271: the multiplicative update.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST = 1e-12
"""Least gain: at 0 it would stay there."""


@torch.no_grad()
def update_gains(power: Tensor, gains: Tensor, variance: Tensor, rest: Tensor) -> Tensor:
    """Return better gains (..., T): the likelihood of no frame is lower.

    Parameters
    ----------
    power : Tensor
        |o|^2, (..., T, F).
    gains : Tensor
        g, (..., T), positive.
    variance, rest : Tensor
        v and r, (..., T, F): of the source at gain 1, and of what is beside it.
    """
    total = gains[..., None] * variance + rest
    up = (power * variance / total.square()).sum(-1)
    down = (variance / total).sum(-1)
    return (gains * (up / down).sqrt()).clamp_min(LEAST)
