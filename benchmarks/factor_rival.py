r"""NMF of power spectra by multiplicative updates: a dictionary a class, activations a mixture.

Vanilla: v_tf = sum_k h_tk W_kf, W learned on training spectra of one class, rows of sum 1; in a
mixture the dictionaries stand beside each other and h alone is found, by MM updates (exponent 1/2)
of the Itakura-Saito divergence, which never raise it. Temporal: the objective has Virtanen's
penalty of activations that change, alpha T sum_t (h_t - h_t-1)^2 / sum_t h_t^2 a component, in the
gradient split of his paper, with the same data term; a step that would raise the objective is
halved in its exponent, eight times at most, and then not made.

Sources: C. Fevotte, J. Idier, "Algorithms for nonnegative matrix factorization with the
beta-divergence", Neural Computation 2011 (MM); T. Virtanen, "Monaural sound source separation by
nonnegative matrix factorization with temporal continuity and sparseness criteria", IEEE TASLP 2007,
equations 7 to 13.
"""

from __future__ import annotations

import torch
from torch import Tensor

FLOOR = 1e-9


@torch.no_grad()
def dictionary(powers: Tensor, components: int, iterations: int = 100, seed: int = 0) -> Tensor:
    """Return W (K, F), rows of sum 1, of training powers (T, F).

    W starts at K of the frames, drawn by the seed; h at one number everywhere.
    """
    generator = torch.Generator().manual_seed(seed)
    x = powers + FLOOR
    w = x[torch.randperm(len(x), generator=generator)[:components]] + 1e-3 * x.mean(0)
    w = w / w.sum(1, keepdim=True)
    h = x.sum(1, keepdim=True).expand(-1, components) / components
    for _ in range(iterations):
        h = h * ((x / (r := h @ w + FLOOR) ** 2 @ w.T) / (1 / r @ w.T)).sqrt()
        r = h @ w + FLOOR
        w = w * ((h.T @ (x / r**2)) / (h.T @ (1 / r))).sqrt()
        total = w.sum(1, keepdim=True).clamp(min=FLOOR)
        w, h = w / total, (h * total.T).clamp(min=FLOOR)
    return w


def divergence(x: Tensor, h: Tensor, w: Tensor, alpha: Tensor | float = 0.0) -> Tensor:
    """Return log det + x / v summed over (T, F), and the penalty, of activations (..., T, K)."""
    v = h @ w + FLOOR
    return (v.log() + x / v).sum((-1, -2)) + (alpha * _change(h)).sum(-1)


@torch.no_grad()
def activations(
    powers: Tensor, w: Tensor, iterations: int = 100, alpha: Tensor | float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return h (..., T, K) of powers (..., T, F) under W (K, F), and the objective (...).

    ``alpha`` is one number, or one a component, (K,).

    h starts at one number in a frame, the frame's power shared by all components.
    """
    x = powers + FLOOR
    h = (x.sum(-1, keepdim=True) / len(w)).expand(*x.shape[:-1], len(w))
    value = divergence(x, h, w, alpha)
    for _ in range(iterations):
        v = h @ w + FLOOR
        plus, minus = _split(h, alpha)
        factor = ((x / v**2) @ w.T + minus) / ((1 / v) @ w.T + plus)
        h, value = _step(x, h, w, alpha, factor, value)
    return h, value


def _step(
    x: Tensor, h: Tensor, w: Tensor, alpha: Tensor | float, factor: Tensor, value: Tensor
) -> tuple[Tensor, Tensor]:
    """Take the longest of eight ever shorter steps that does not raise the objective."""
    power = torch.full_like(value, 0.5)
    for _ in range(8):
        made = (h * factor ** power[..., None, None]).clamp(min=FLOOR)
        reached = divergence(x, made, w, alpha)
        worse = reached > value + 1e-6 * value.abs()
        if not worse.any():
            return made, reached
        power = torch.where(worse, power / 2, power)
    stay = worse[..., None, None]
    return torch.where(stay, h, made), torch.where(worse, value, reached)


def _change(h: Tensor) -> Tensor:
    """T sum_t (h_t - h_t-1)^2 / sum_t h_t^2, (..., K)."""
    return h.shape[-2] * h.diff(dim=-2).square().sum(-2) / h.square().sum(-2).clamp(min=FLOOR**2)


def _split(h: Tensor, alpha: Tensor | float) -> tuple[Tensor | float, Tensor | float]:
    """Return the parts of the penalty's gradient that are positive and negative, (..., T, K)."""
    if not torch.as_tensor(alpha).any():
        return 0.0, 0.0
    frames, total = h.shape[-2], h.square().sum(-2, keepdim=True).clamp(min=FLOOR**2)
    beside = torch.zeros_like(h)
    beside[..., 1:, :] += h[..., :-1, :]
    beside[..., :-1, :] += h[..., 1:, :]
    ends = torch.full_like(h[..., :1], 2.0)
    ends[..., 0, :] = ends[..., -1, :] = 1.0
    changes = h.diff(dim=-2).square().sum(-2, keepdim=True)
    plus = 2 * frames * ends * h / total
    minus = 2 * frames * beside / total + 2 * frames * h * changes / total**2
    return alpha * plus, alpha * minus
