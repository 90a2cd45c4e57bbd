r"""What a source's posterior truly costs: E_q[log q(s, z) - log p(s, z)], from joint draws of q.

The E-S steps read the networks at a path of means, and the rate they return is against that plug-in
prior: part of an objective to climb, but of no bound. Here the networks read the draws themselves.
Where q(s) is the smoother of the plug-in prior (`guides.dvae.motion_smoother`),

.. math::
    E_q[\log q(s) q(z \mid s) - \log p(s, z)] = KL(q(s) \| p_{plug}(s))
    + E_q[\log p_{plug}(s) - \log p(s \mid z)] + E_q[KL(q(z \mid s) \| p(z \mid s))],

and for a filter (`guides.dvae.motion_filter`), whose q(s) is independent over frames, log q(s)
stands for the first two log densities of q. z is drawn by the encoder from the drawn s; each step's
KL is exact. Draws come in pairs, mean + x and mean - x: what is linear in x cancels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Normal

from guides.dvae.motion_draws import log_density, path_deviations
from guides.dvae.motion_filter import Evidence, SourcePosterior
from ppl_models.dvae import Motion
from ppl_models.sequences import clean

LARGEST_PART = 2**17
"""Frames of paths that networks read at once: some hundred MiB of an LSTM's gates."""


class White(NamedTuple):
    """Standard normal numbers, R for each source: what the draws of a true rate are made of."""

    path: Tensor
    """(2, R, ..., T, D): for the path, and for the evidence that a simulation has of it."""
    latent: Tensor
    """(R, ..., T, L): for z, if there is any."""


class Plugged(NamedTuple):
    """An E-S step: its q(s), and the plug-in prior that it was taken with."""

    posterior: SourcePosterior
    raw: Tensor | None
    """(..., T, 2 D): the emission's outputs that the smoother took; None for a filter."""


Reading = Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]
"""Paths (..., T, D) and noise (..., T, L) -> the emission's outputs (..., T, 2 D) of networks that
read these paths, z drawn given them, and the KL of each z_t (..., T); None without latents."""


def true_rates(
    motion: Motion,
    evidence: Evidence,
    plugged: Plugged,
    read: Reading,
    white: White,
    mask: Tensor | None = None,
) -> Tensor:
    """Return R estimates (R, ...), each of one pair of draws, whose mean is the rate of q(s, z).

    They are independent and unbiased. Frames where ``mask`` (..., T) is False do not exist.
    """
    q, raw = plugged
    if raw is None:
        scale = q.variance.sqrt()
        deviation, known = scale * white.path[0], torch.zeros_like(q.rate)
    else:
        deviation, known = path_deviations(motion, evidence.precision, raw, white.path), q.rate

    def excess(s: Tensor, noise: Tensor) -> Tensor:
        """What is left beside ``known``, (...), of drawn paths."""
        outputs, kl = read(s, noise)
        if raw is None:
            mine = Normal(q.mean, scale, validate_args=False).log_prob(s).sum(-1)
        else:
            mine = log_density(motion, raw, s)
        each = mine - log_density(motion, outputs, s) + (0.0 if kl is None else kl)
        return clean(each[..., None], mask).sum((-2, -1))

    parts = max(1, -(-2 * deviation[..., 0].numel() // LARGEST_PART))
    sizes = zip(*(x.chunk(parts) for x in (deviation, white.latent)), strict=True)
    totals = [0.5 * (excess(q.mean + x, e) + excess(q.mean - x, -e)) for x, e in sizes]
    return known + torch.cat(totals)
