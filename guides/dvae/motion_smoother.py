r"""An E-S step that smooths: Kalman smoothing with the drift and noise that a DVAE predicts.

A path of increments with inertia is almost linear-Gaussian:

.. math::
    s_t = s_{t-1} + \rho c_t + b_t + \varepsilon_t, \quad \varepsilon_t \sim N(0, v_t), \qquad
    c_{t+1} = \kappa c_t + (1 - \kappa) (s_t - s_{t-1}),

with the move carried on c, share rho and keep kappa of `ppl_models.dvae.motion.Inertia`; only b_t
and v_t come from networks, which read the past. Read at the mean of the iteration before, in one
pass over all frames, they are numbers, and q(s) is then the exact smoother of what is left. It is
coordinate ascent in spirit: at a fixed point the networks have read the path they help to make. The
paper's E-S step (`guides.dvae.motion_filter`) filters, and plugs means in for the whole past.

In each dim the state is (s_t, c_{t+1}), all covariances are 2 x 2 and written out, and nothing is
inverted: the backward half is the one of Bryson and Frazier.

References: A. E. Bryson, M. Frazier, "Smoothing for linear and nonlinear dynamic systems", 1963;
G. J. Bierman, "Fixed interval smoothing with discrete measurements", Int. J. Control 1973.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from guides.dvae.motion_filter import Evidence, SourcePosterior, frames, stacked
from ppl_models.dvae import Motion
from ppl_models.errors import InputError


class Belief(NamedTuple):
    """A vector over (s_t, c_{t+1}) and a symmetric matrix; each entry (count, D)."""

    s: Tensor
    c: Tensor
    ss: Tensor
    sc: Tensor
    cc: Tensor


class Update(NamedTuple):
    """What a frame's evidence changes in the belief before it; each (count, D)."""

    residual: Tensor  # (weighted - precision s) / (1 + precision ss)
    weight: Tensor  # precision / (1 + precision ss)
    left: Tensor  # 1 / (1 + precision ss): the share of the variance of s_t that is left
    gain: Tensor  # weight sc: how far c_{t+1} is moved with s_t
    s: Tensor  # mean and variance of s_t before
    ss: Tensor


def smooth_source(motion: Motion, evidence: Evidence, raw: Tensor) -> SourcePosterior:
    """Return the exact q(s), given the emission's outputs at each frame.

    Parameters
    ----------
    motion : Motion
        With increments.
    evidence : Evidence
        (..., T, D).
    raw : Tensor
        (..., T, 2 D), the emission's outputs, from networks that have read some path.

    Returns
    -------
    SourcePosterior
        Its rate is KL(q(s) || p(s)) for the p above: exact, but for where the networks read.

    Raises
    ------
    InputError
        The networks write positions: there is no linear motion to smooth.
    """
    if not motion.increments:
        cure = "smooth=False takes the paper's E-S step"
        raise InputError("model", "increments=False", "a likelihood of increments", cure)
    batch = evidence.precision.shape[:-2]
    filtered, updates = run_forward(motion, evidence, raw)
    adjoint = _run_back(motion, updates)
    f, a = (Belief(*(stacked(x, batch) for x in zip(*p, strict=True))) for p in (filtered, adjoint))
    mean = f.s - f.ss * a.s - f.sc * a.c
    variance = f.ss - f.ss * (f.ss * a.ss + 2 * f.sc * a.sc) - f.sc * f.sc * a.cc
    before, doubt = (stacked([getattr(x, name) for x in updates], batch) for name in ("s", "ss"))
    return SourcePosterior(mean, variance, _rate(evidence, mean, variance, before, doubt))


def _rate(
    evidence: Evidence, mean: Tensor, variance: Tensor, before: Tensor, doubt: Tensor
) -> Tensor:
    """KL(q || p) = E_q[log f] - log E_p[f], with f(s) the evidence.

    Both terms are taken relative to f(mean): as large numbers they would leave little of float32.
    """
    precision, off = evidence.precision, before - mean
    weighted, left = evidence.weighted - precision * mean, 1 / (1 + precision * doubt)
    fit = weighted * (weighted * doubt + 2 * off) - precision * off * off
    return -0.5 * (precision * variance + left.log() + left * fit).sum((-2, -1))


def run_forward(
    motion: Motion, evidence: Evidence, raw: Tensor
) -> tuple[list[Belief], list[Update]]:
    """Filter: return the belief after each frame, and what its evidence changed in it."""
    drift, log_variance = motion.step(raw)
    noise = motion.variance(log_variance)
    shape, (share, keep) = evidence.precision.shape, rates(motion)
    beliefs, updates = list[Belief](), list[Update]()
    rows = (frames(x.expand(shape)) for x in (*evidence, drift, noise))
    for precision, weighted, b, v in zip(*rows, strict=True):
        now = _next(beliefs[-1], share, keep, b, v) if beliefs else _first(motion, b)
        left = 1 / (1 + precision * now.ss)
        weight, residual = precision * left, (weighted - precision * now.s) * left
        gain = weight * now.sc
        updates.append(Update(residual, weight, left, gain, now.s, now.ss))
        s, c = torch.addcmul(now.s, now.ss, residual), torch.addcmul(now.c, now.sc, residual)
        beliefs.append(Belief(s, c, now.ss * left, now.sc * left, now.cc - gain * now.sc))
    return beliefs, updates


def _first(motion: Motion, like: Tensor) -> Belief:
    zero = torch.zeros_like(like)
    return Belief(zero, zero, zero + motion.start_scale**2, zero, zero)


def _next(now: Belief, share: Tensor, keep: Tensor, b: Tensor, v: Tensor) -> Belief:
    """One frame on: s' = s + share c + b + e, c' = keep c + (1 - keep) (s' - s)."""
    fresh = 1 - keep
    lives = keep + fresh * share
    half = torch.addcmul(now.sc, share, now.cc)  # covariance of s + share c and c
    step = torch.addcmul(b, share, now.c)
    noise = fresh * v
    return Belief(
        now.s + step,
        keep * now.c + fresh * step,
        now.ss + share * (now.sc + half) + v,
        lives * half + noise,
        lives * lives * now.cc + fresh * noise,
    )


def _run_back(motion: Motion, updates: list[Update]) -> list[Belief]:
    """Adjoint of each frame: how later frames correct its belief."""
    share, keep = rates(motion)
    lives = keep + (1 - keep) * share
    zero = torch.zeros_like(updates[-1].left)
    now, adjoint = Belief(zero, zero, zero, zero, zero), list[Belief]()
    for residual, weight, left, gain, _, _ in reversed(updates):
        adjoint.append(now)
        s = left * now.s - gain * now.c - residual
        sc = left * now.sc - gain * now.cc
        ss = torch.addcmul(weight, left, left * now.ss - gain * now.sc) - gain * sc
        cross = share * ss + lives * sc
        cc = share * cross + lives * (share * sc + lives * now.cc)
        now = Belief(s, share * s + lives * now.c, ss, cross, cc)
    return adjoint[::-1]


def rates(motion: Motion) -> tuple[Tensor, Tensor]:
    """Return share and keep (D,) of what is carried on of a path's moves."""
    return (0 * motion.unit,) * 2 if motion.inertia is None else motion.inertia.rates()
