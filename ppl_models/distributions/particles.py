r"""Particles that hold regimes, each with an exact Gaussian of the rest of the state.

A particle is a path of regimes k_{1:t} and N(z_t; mean, cov) = p(z_t | k_{1:t}, s_{1:t}). At each
frame it tries all K regimes, with weights p(k_t | k_{t-1}) p(s_t | k_{1:t}, s_{1:t-1}); of these
P K children P are kept, all alike, by systematic resampling. Nothing is ever drawn of z, and k_t is
drawn from its exact distribution given its particle's past and s_t (the optimal proposal). The
product over frames of the mean weight is an unbiased estimate of p(s); its logarithm is low by
about half its variance.

References: A. Doucet, N. de Freitas, K. Murphy, S. Russell, "Rao-Blackwellised particle filtering
for dynamic Bayesian networks", UAI 2000; P. Del Moral, "Feynman-Kac formulae", 2004, theorem 7.4.2
(unbiased).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ppl_models.distributions.markov import rows
from ppl_models.inputs import check_count
from ppl_models.sequences import read_paths


class Tracked(NamedTuple):
    """Estimates from P particles."""

    log_evidence: Tensor
    """(B): log of an unbiased estimate of p(s), nats."""
    regimes: Tensor
    """(B, T, K): estimate of p(k_t | s_{1:t})."""
    mean: Tensor
    """(B, T, P, L): of z_t, given each particle's regimes and s_{1:t}; particles are all alike."""
    cov: Tensor
    """(B, T, P, L, L)."""


@torch.no_grad()
def track(
    model: Any,
    s: Tensor,
    mask: Tensor | None = None,
    observed: Tensor | None = None,
    *,
    num_particles: int = 100,
    seed: int = 0,
) -> Tracked:
    """Filter paths s (B, T, D) of a `ppl_models.slds.SLDS`; time and memory grow as T P K.

    Raises
    ------
    InputError
        ``num_particles`` is no whole number from 1, or s is not as `check_paths` asks.
    """
    frames, seen = read_paths(s, mask, observed, model.data_dim)
    check_count("num_particles", num_particles)
    generator = torch.Generator(s.device).manual_seed(seed)
    row = torch.arange(len(s), device=s.device)[:, None]
    switch = model.switch_logits.log_softmax(-1)
    logits = model.regime_logits.log_softmax(-1).expand(len(s), 1, -1)  # of one parent's children
    mean, cov, fit = _begin(model, frames[:, 0], seen[:, 0], len(switch))
    log_evidence, regimes, clouds = torch.zeros_like(s[:, 0, 0]), [], []
    for t in range(s.shape[1]):
        if t:
            mean, cov, fit = model.branch(mean, cov, frames[:, t, None], seen[:, t, None])
        parents = logits.shape[1]
        joint = (logits + fit).mT.flatten(1)  # children by regime: like beside like, see below
        total = joint.logsumexp(-1, keepdim=True)
        weight = (joint - total).exp()
        log_evidence = log_evidence + total[:, 0] - math.log(parents)
        regimes.append(weight.unflatten(1, (-1, parents)).sum(-1))
        kept = _resample(weight, num_particles, generator)
        k, parent = kept // parents, kept % parents
        mean, cov, logits = mean[row, parent, k], cov[row, parent, k], rows(switch, k)
        clouds.append((mean, cov))
    means, covs = (torch.stack(part, 1) for part in zip(*clouds, strict=True))
    return Tracked(log_evidence, torch.stack(regimes, 1), means, covs)


def _begin(model: Any, frame: Tensor, seen: Tensor, count: int) -> tuple[Tensor, ...]:
    """Return moments of z_1, and the frame's log evidence, once for each regime: (B, 1, K, ...)."""
    mean, cov, fit = model.update(*model.start(), frame, seen)
    mean, cov = (x[:, None, None].expand(-1, 1, count, *x.shape[1:]) for x in (mean, cov))
    return mean, cov, fit[:, None, None]


def _resample(weight: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return ``count`` indices (B, count) of weights (B, N), each as often as its weight, +-1.

    It goes along the weights in equal strides: their order must have no period, as children have
    that stand by parents, where equal parents would all keep the same child.
    """
    shape = len(weight), 1
    start = torch.rand(shape, generator=generator, dtype=weight.dtype, device=weight.device)
    points = (torch.arange(count, device=weight.device) + start) / count
    return torch.searchsorted(weight.cumsum(-1), points).clamp(max=weight.shape[-1] - 1)
