r"""What a dynamical VAE says of the frames so far, by particles: its evidence, and z filtered.

P particles hold a latent path each. At frame t each draws z_t from the story's own prior, given its
past and the true frames before t, is weighted by p(s_t | ...), and all are replaced by P drawn by
these weights (systematic resampling). The product over frames of the mean weight is an unbiased
estimate of p(s_{1:T}); its logarithm is low by about half its variance.

It needs no guide, tells a story frame by frame where a bound scores it at once, and is exact as P
grows: what bounds are held against, where latents are few. P must grow exponentially with what a
frame tells of its latents; `Filtered.ess` says when it is too small.

References: N. Gordon, D. Salmond, A. Smith, "Novel approach to nonlinear/non-Gaussian Bayesian
state estimation", IEE Proc. F 1993; P. Del Moral, "Feynman-Kac formulae", 2004, theorem 7.4.2
(unbiased).
"""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from inference.randomness import derive, seeded
from ppl_models.dynamical import DynamicalVAE, Memory, Past
from ppl_models.errors import InputError
from ppl_models.inputs import check_count
from ppl_models.motion import check_paths, clean, draw, shift

AT_ONCE = 50_000
"""Particles, of all sequences, that are held at a time."""


class Filtered(NamedTuple):
    """What P particles say of B sequences."""

    log_evidence: Tensor
    """(B,): log of an unbiased estimate of p(s), nats."""
    mean: Tensor
    """(B, T, L): of z_t given s_{1:t}; after a sequence's last frame, of its forecast."""
    ess: Tensor
    """(B, T): effective number of particles, 1 to P, before they are drawn anew."""


@torch.no_grad()
def particle_filter(
    story: DynamicalVAE,
    s: Tensor,
    mask: Tensor | None = None,
    *,
    particles: int = 1000,
    seed: int = 0,
) -> Filtered:
    """Filter sequences s (B, T, D); time grows as B T P.

    Parameters
    ----------
    story
        One that can be told frame by frame (`DynamicalVAE.roll`), in evaluation mode.
    s, mask
        As in the story; ``mask`` (B, T).
    particles
        P.
    seed
        Of all draws.

    Raises
    ------
    InputError
        The story is of another kind, or its frames read later latents; ``particles`` is no whole
        number from 1; or s and its mask are not as the story takes them.
    """
    if not isinstance(story, DynamicalVAE) or story.likelihood is None or story.whole:
        expected = "a DynamicalVAE with a likelihood, whose frames do not read later latents"
        cure = "of KVAE, LDS, HMM and SLDS take log_evidence or filter; of others, importance"
        raise InputError("story", type(story).__name__, expected, cure)
    check_paths(s, mask, story.data_dim)
    check_count("particles", particles)
    s = clean(s, mask)
    story.likelihood.check(s)
    exists = torch.ones_like(s[..., 0], dtype=torch.bool) if mask is None else mask
    size = max(1, AT_ONCE // particles)
    with seeded(derive(seed, "particles")):
        parts = [
            _filter(story, rows, there, particles)
            for rows, there in zip(s.split(size), exists.split(size), strict=True)
        ]
    return Filtered(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _filter(story: DynamicalVAE, s: Tensor, exists: Tensor, particles: int) -> Filtered:
    batch, memory = (particles, len(s)), Memory(stepwise=True)
    seen = shift(story.features(s, exists)).expand(particles, -1, -1, -1)
    like = next(story.parameters())
    code = like.new_empty(*batch, 1, story.code_dim).normal_() if story.code_dim else None
    z = like.new_zeros(*batch, 1, story.latent_dim)
    total, means, sizes = like.new_zeros(len(s)), list[Tensor](), list[Tensor]()
    for t in range(s.shape[1]):
        past = Past(seen[:, :, t : t + 1], z, code, memory)
        h = story.read(past)
        z = draw(story.latent(h, past)) if story.latent_dim else z
        fit = story.likelihood(story.frame(h, z, past)).log_prob(s[:, t : t + 1])[..., 0]
        fit = torch.where(exists[:, t], fit, 0.0)
        weight, most = fit.softmax(0), fit.logsumexp(0)
        total = total + most - math.log(particles)
        means.append((weight[..., None] * z[..., 0, :]).sum(0))
        sizes.append(1 / weight.square().sum(0))
        take = partial(_take, _systematic(weight))
        z, code = take(z), None if code is None else take(code)
        memory.follow(take)
    return Filtered(total, torch.stack(means, 1), torch.stack(sizes, 1))


def _systematic(weight: Tensor) -> Tensor:
    """Draw P particles of each sequence by weights (P, B) that sum to 1; return who (P, B)."""
    count, size = weight.shape
    places = torch.arange(count, device=weight.device) + weight.new_empty(size, 1).uniform_()
    who = torch.searchsorted(weight.mT.cumsum(-1), places / count)
    return who.clamp_max(count - 1).mT


def _take(who: Tensor, x: Tensor) -> Tensor:
    """Let place (p, b) of x (P, B, ...) have what (who[p, b], b) has."""
    return x[who, torch.arange(who.shape[1], device=who.device)]
