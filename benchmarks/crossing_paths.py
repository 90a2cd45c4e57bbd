"""Kalman filter and smoother of people's boxes, each coordinate by itself."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.crossing_scenes import PHI, STEP


class Paths(NamedTuple):
    """What is known of paths: means (..., N, 4), and covariances of place s and velocity v."""

    s: Tensor
    v: Tensor
    ss: Tensor
    sv: Tensor
    vv: Tensor


def noise(o: Tensor) -> Tensor:
    """Return the variance of detections (..., 4)."""
    size = o[..., 2:].exp()
    return (PHI * torch.cat([size, torch.ones_like(size)], -1)) ** 2


def carry(now: Paths) -> Paths:
    """Take a step of time: velocities change by white noise."""
    vv = now.vv + STEP**2
    ss = now.ss + 2 * now.sv + vv
    return Paths(now.s + now.v, now.v, ss, now.sv + vv, vv)


def learn(now: Paths, o: Tensor, share: Tensor) -> Paths:
    """Condition on detections (B, K, 4), each worth its share (B, N, K)."""
    precision = share[..., None] / noise(o)[:, None]
    total = precision.sum(-2)
    pull = (precision * (o[:, None] - now.s[..., None, :])).sum(-2)
    gain = 1 / (1 + now.ss * total)
    return Paths(
        now.s + gain * now.ss * pull,
        now.v + gain * now.sv * pull,
        gain * now.ss,
        gain * now.sv,
        now.vv - gain * total * now.sv**2,
    )


def back(known: Paths, ahead: Paths, later: Paths) -> Paths:
    """Take one step back of the Rauch-Tung-Striebel smoother."""
    cross = torch.stack([known.ss + known.sv, known.sv, known.sv + known.vv, known.vv], -1)
    det = ahead.ss * ahead.vv - ahead.sv**2
    inverse = torch.stack([ahead.vv, -ahead.sv, -ahead.sv, ahead.ss], -1) / det[..., None]
    gain = _square(cross) @ _square(inverse)
    ds = torch.stack([later.s - ahead.s, later.v - ahead.v], -1)[..., None]
    moved = (gain @ ds).squeeze(-1)
    change = _full(later) - _full(ahead)
    p = _full(known) + gain @ change @ gain.transpose(-1, -2)
    s, v = known.s + moved[..., 0], known.v + moved[..., 1]
    return Paths(s, v, p[..., 0, 0], p[..., 0, 1], p[..., 1, 1])


def _square(four: Tensor) -> Tensor:
    return four.reshape(*four.shape[:-1], 2, 2)


def _full(q: Paths) -> Tensor:
    return _square(torch.stack([q.ss, q.sv, q.sv, q.vv], -1))
