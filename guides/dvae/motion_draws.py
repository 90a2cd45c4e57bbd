"""Joint draws of a path from its smoother, and densities of paths under what networks predict.

A draw of the smoother is its mean plus a simulated path less what the smoother makes of that path's
simulated evidence. Only the errors of the simulation's filter matter, and only means are run again:
covariances, which no evidence changes, are those of one pass for all draws.

Reference: J. Durbin, S. J. Koopman, "A simple and efficient simulation smoother for state space
time series analysis", Biometrika 2002.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from guides.dvae.motion_filter import Evidence, frames, stacked
from guides.dvae.motion_smoother import Belief, Update, rates, run_forward
from ppl_models.dvae import Motion
from ppl_models.sequences import shift


def path_deviations(motion: Motion, precision: Tensor, raw: Tensor, white: Tensor) -> Tensor:
    """Draw s - E_q[s] of the q(s) that `guides.dvae.motion_smoother.smooth_source` returns.

    Shapes: precision (..., T, D) of the evidence, raw (..., T, 2 D), white (2, R, ..., T, D)
    standard normal -> (R, ..., T, D).
    """
    evidence = Evidence(precision, torch.zeros_like(precision))
    filtered, updates = run_forward(motion, evidence, raw)
    variance = motion.variance(motion.step(raw)[1]).expand(precision.shape)
    scales = [_by_frame(x.sqrt()) for x in (variance, precision)]
    scales[0][0] = torch.full_like(scales[0][0], motion.start_scale)
    noise = zip(*(_rows(x) for x in white), *scales, strict=True)
    steps = [(e * scale, u * root) for e, u, scale, root in noise]
    errors, residuals = _errors(motion, filtered, updates, _by_frame(precision), steps)
    drawn = _corrected(motion, filtered, updates, errors, residuals)
    return stacked_rows(drawn, white.shape[1:])


def _errors(
    motion: Motion,
    filtered: list[Belief],
    updates: list[Update],
    precision: list[Tensor],
    steps: list[tuple[Tensor, Tensor]],
) -> tuple[list[Tensor], list[Tensor]]:
    """Simulated path less its filter's mean, each (R, count, D), and the filter's residuals."""
    share, keep = rates(motion)
    s = c = torch.zeros_like(steps[0][0])
    errors, residuals = list[Tensor](), list[Tensor]()
    for t, (walk, seen) in enumerate(steps):
        move = torch.addcmul(walk, share, c)
        s, c = s + move, keep * c + (1 - keep) * move * (t > 0)
        news = torch.addcmul(seen, precision[t], s)
        s, c = s - filtered[t].ss * news, c - filtered[t].sc * news
        errors.append(s)
        residuals.append(updates[t].left * news)
    return errors, residuals


def _corrected(
    motion: Motion,
    filtered: list[Belief],
    updates: list[Update],
    errors: list[Tensor],
    residuals: list[Tensor],
) -> list[Tensor]:
    """Errors of the smoother from those of the filter: later residuals, by the adjoint."""
    share, keep = rates(motion)
    lives = keep + (1 - keep) * share
    a_s = a_c = torch.zeros_like(errors[0])
    drawn = list[Tensor]()
    for t in range(len(errors) - 1, -1, -1):
        drawn.append(errors[t] + filtered[t].ss * a_s + filtered[t].sc * a_c)
        a_s = updates[t].left * a_s - updates[t].gain * a_c - residuals[t]
        a_c = share * a_s + lives * a_c
    return drawn[::-1]


def log_density(motion: Motion, raw: Tensor, s: Tensor) -> Tensor:
    """Log p(s_t | s_{1:t-1}), (..., T), for the emission's outputs raw (..., T, 2 D)."""
    drift, log_variance = motion.step(raw)
    mean, variance = drift, motion.variance(log_variance)
    if motion.increments:
        first = torch.arange(s.shape[-2], device=s.device)[:, None] == 0
        ahead = shift(s) + carried(motion, s) + drift
        mean = torch.where(first, 0.0, ahead)
        variance = torch.where(first, motion.start_scale**2, variance)
    return -0.5 * ((s - mean) ** 2 / variance + (2 * math.pi * variance).log()).sum(-1)


def carried(motion: Motion, s: Tensor) -> Tensor:
    """Return share c_t, the move that inertia adds at each frame of paths s (..., T, D)."""
    if motion.inertia is None:
        return torch.zeros_like(s)
    share, keep = motion.inertia.rates()
    moves = _by_frame(s - torch.cat([s[..., :1, :], s[..., :-1, :]], -2))
    c = [torch.zeros_like(moves[0])] * min(2, len(moves))
    for move in moves[1:-1]:
        c.append(torch.addcmul(keep * c[-1], 1 - keep, move))
    return share * stacked(c, s.shape[:-2])


def _by_frame(x: Tensor) -> list[Tensor]:
    return list(frames(x))


def _rows(x: Tensor) -> list[Tensor]:
    """Return T tensors (R, count, D) from one (R, ..., T, D)."""
    return list(x.flatten(1, -3).unbind(-2)) if x.dim() > 3 else list(x[:, None].unbind(-2))


def stacked_rows(parts: list[Tensor], shape: torch.Size) -> Tensor:
    """Return (R, ..., T, D) from T tensors (R, count, D)."""
    return torch.stack(parts, -2).reshape(shape)
