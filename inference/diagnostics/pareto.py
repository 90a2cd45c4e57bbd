"""Pareto smoothed importance sampling, for many vectors of weights at once.

Vehtari, Simpson, Gelman, Yao and Gabry (2024), "Pareto smoothed importance sampling", JMLR 25(72):
the largest weights are replaced by quantiles of a generalized Pareto distribution fitted to them,
whose shape k-hat says how far the weights can be trusted.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_FLAT = 1e-3  # nats: weights closer together than this are all one, up to rounding
_FEW = 5  # with fewer weights in the tail than this no shape can be fitted


def tail_length(draws: int) -> int:
    """M, how many of S weights are taken for the tail (Vehtari et al. 2024, section 2.2)."""
    return math.ceil(min(draws / 5, 3 * math.sqrt(draws)))


def khat_error(khat: Tensor, draws: int) -> Tensor:
    r"""Return the standard error of an estimated shape.

    The maximum likelihood estimate of the shape k of a generalized Pareto distribution from M
    exceedances has the asymptotic variance :math:`(1 + k)^2 / M` for k over minus a half (Smith
    1987, "Estimating tails of probability distributions", Annals of Statistics 15(3), section 4);
    the prior of `fit_tail` draws it together by M / (M + 10). It says how k-hat scatters from one
    set of draws to the next, not how far it is from the tail's shape at infinity.

    Parameters
    ----------
    khat
        Any shape; 0 is returned where it is minus infinity (nothing to estimate), infinity where it
        is plus infinity (nothing estimated).
    draws
        S.
    """
    length = tail_length(draws)
    error = (1 + khat.clamp(min=-0.5)) * math.sqrt(length) / (length + 10)
    return torch.where(khat == -math.inf, torch.zeros_like(khat), error)


def smooth(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Smooth importance weights, and estimate the shape of their tail.

    Parameters
    ----------
    log_weights
        ``(S, B)``: B vectors of S log weights.

    Returns
    -------
    tuple
        The smoothed log weights, ``(S, B)``, normalised to sum to one over the draws, and k-hat,
        ``(B,)``, both in double precision. K-hat is minus infinity where all weights agree (within
        a thousandth of a nat: the guide is the posterior), or the largest do (as of a discrete
        guide, whose weights take few values: the tail is a point). It is plus infinity where the
        weights have no tail to fit, S under 21 or weights that are mostly zero.
    """
    lw = log_weights.double()
    lw = lw - lw.max(0, keepdim=True).values.clamp(min=-1e300)
    draws = len(lw)
    length = tail_length(draws)
    ranked, order = lw.sort(0)
    flat = ranked[-1] - ranked[0] < _FLAT
    if length < _FEW or draws <= length:
        k = torch.full_like(lw[0], math.inf)
        return lw.log_softmax(0), k.masked_fill(flat, -math.inf)
    flat = flat | (ranked[-1] - ranked[-length - 1] < _FLAT)
    cutoff = ranked[-length - 1].exp()  # (B,)
    excess = ranked[-length:].exp() - cutoff
    usable = ~flat & (excess > 0).all(0)
    k, scale = fit_tail(torch.where(usable, excess, _example(length).unsqueeze(1)))
    tail = (quantiles(k, scale, length) + cutoff).clamp(max=1.0).log()
    ranked[-length:] = torch.where(usable, tail, ranked[-length:])
    smoothed = torch.empty_like(lw).scatter_(0, order, ranked)
    k = torch.where(usable, k, math.inf).masked_fill(flat, -math.inf)
    return smoothed.log_softmax(0), k


def _example(length: int) -> Tensor:
    """A harmless tail, to stand where there is none to fit."""
    return -torch.log1p(-(torch.arange(length, dtype=torch.double) + 0.5) / length)


def fit_tail(excess: Tensor) -> tuple[Tensor, Tensor]:
    """Fit generalized Pareto distributions to columns of exceedances.

    Zhang and Stephens (2009), "A new and efficient estimation method for the generalized Pareto
    distribution", Technometrics 51(3), with the weak prior on the shape of Vehtari et al. (2024),
    which draws it towards a half with the weight of ten exceedances.

    Parameters
    ----------
    excess
        ``(M, B)``, positive and sorted upwards over M.

    Returns
    -------
    tuple
        Shape and scale, ``(B,)`` each.
    """
    m = len(excess)
    grid = 30 + int(math.sqrt(m))
    steps = torch.arange(1, grid + 1, dtype=excess.dtype, device=excess.device) - 0.5
    quartile = excess[int(m / 4 + 0.5) - 1]
    theta = (1 - (grid / steps).sqrt()).unsqueeze(1) / (3 * quartile) + 1 / excess[-1]  # (G, B)
    shapes = torch.stack([torch.log1p(-t * excess).mean(0) for t in theta])
    profile = m * ((-theta / shapes).log() - shapes - 1)
    weights = profile.softmax(0)
    mean = (weights * theta).sum(0)
    k = torch.log1p(-mean * excess).mean(0)
    return (m * k + 5) / (m + 10), -k / mean


def quantiles(k: Tensor, scale: Tensor, count: int) -> Tensor:
    """Return the mid-point quantiles of generalized Pareto distributions: ``(count, B)``."""
    levels = (torch.arange(count, dtype=k.dtype, device=k.device) + 0.5) / count
    survival = torch.log1p(-levels).unsqueeze(1)
    small = k.abs() < 1e-8
    safe = torch.where(small, torch.ones_like(k), k)
    return torch.where(small, -survival * scale, torch.expm1(-safe * survival) / safe * scale)
