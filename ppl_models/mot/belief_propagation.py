r"""Loopy belief propagation over the matchings of objects with detections, in all frames at once.

The weight of a partial matching M of N objects with K detections is

.. math::
    \prod_{(n, k) \in M} \psi_{nk} \prod_{n \notin M} q_n,

psi_nk being the odds of "k is of n" against "k is clutter", and q_n the factor of "n is not
detected". Messages, from object n to detection k and back:

.. math::
    \mu_{nk} = \frac{\psi_{nk}}{q_n + \sum_{j \ne k} \psi_{nj} \nu_{nj}}, \qquad
    \nu_{nk} = \frac{1}{1 + \sum_{i \ne n} \mu_{ik}}.

They converge to one fixed point from any start. With one object or one detection it is exact; else
marginals are approximate, and the Bethe partition function is a lower bound of the sum over all
matchings in every case tried (Vontobel 2013 proves it for permanents).

References: Williams and Lau, "Approximate evaluation of marginal association probabilities with
belief propagation", IEEE TAES 2014, arXiv:1209.6299, sections III and IV; Vontobel, "The Bethe
permanent of a nonnegative matrix", IEEE Trans. Inf. Theory 2013.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ppl_models.mot.life import NEVER

ROUNDS = 4
"""Updates between two looks at which frames have converged."""


class Beliefs(NamedTuple):
    """What belief propagation found in each frame."""

    marginals: Tensor
    """(..., N, K): p(detection k is of object n)."""
    undetected: Tensor
    """(..., N): p(object n is not detected)."""
    clutter: Tensor
    """(..., K): p(detection k is of no object)."""
    messages: Tensor
    """(..., N, K): log nu_nk, what the other objects leave of detection k to object n. The factor
    that n's own states are multiplied by is log(q_n + sum_k psi_nk nu_nk), for any psi and q that
    a state of n may have, with its messages as they are."""
    log_partition: Tensor
    """(...): the Bethe approximation of log sum over all matchings, nats."""
    steps: int
    """Updates of the frame that took longest."""


@torch.no_grad()
def propagate_beliefs(
    log_odds: Tensor,
    log_not: Tensor,
    mask: Tensor | None = None,
    *,
    most_steps: int = 200,
    tolerance: float = 1e-3,
) -> Beliefs:
    """Approximate the marginals of a matching by loopy belief propagation.

    Parameters
    ----------
    log_odds : Tensor
        (..., N, K): log psi_nk, e.g. log p N(o_k; box n) - log clutter_rate u(o_k), u the density
        of clutter; minus infinity where impossible.
    log_not : Tensor
        (..., N): log q_n, e.g. log(1 - p); batch dims of the two broadcast.
    mask : Tensor, optional
        (..., N, K) or broadcasting with it, bool: pairs that exist. Others are not read.
    most_steps : int
        A frame ends there, converged or not.
    tolerance : float
        A frame ends where no log(q_n + sum_k psi_nk nu_nk) changed by more in a step, nats.
    """
    if mask is not None:
        log_odds = torch.where(mask, log_odds, NEVER)
    batch = torch.broadcast_shapes(log_odds.shape[:-2], log_not.shape[:-1])
    odds = log_odds.clamp(min=NEVER).expand(*batch, *log_odds.shape[-2:])
    rest = log_not.clamp(min=NEVER)[..., None].expand(*batch, -1, 1)
    psi, q = (x.reshape(batch.numel(), *x.shape[-2:]) for x in (odds, rest))
    back, steps = _converge(psi, q, most_steps, tolerance)
    return _beliefs(odds, rest, back.reshape(odds.shape), steps)


def _converge(odds: Tensor, rest: Tensor, most_steps: int, tolerance: float) -> tuple[Tensor, int]:
    """Exchange messages in F frames; return those to the objects (F, N, K), and the steps taken.

    Frames that have converged are left out of what follows: most do so at once, and a few with
    people who stand together need long.
    """
    back, steps = torch.zeros_like(odds), 0
    left = torch.arange(len(odds) if odds.numel() else 0, device=odds.device)
    while len(left) and steps < most_steps:
        psi, q, now = odds[left], rest[left], back[left]
        for _ in range(min(ROUNDS, most_steps - steps)):
            before = now
            now = -_others(_out(psi, q, now), torch.zeros_like(psi[:, :1]), -2)
            steps += 1
        change = (_totals(psi, q, now) - _totals(psi, q, before)).abs().amax((-1, -2))
        back[left] = now
        left = left[change > tolerance]
    return back, steps


def _out(odds: Tensor, rest: Tensor, back: Tensor) -> Tensor:
    """Return the messages log mu (..., N, K) to the detections."""
    return odds - _others(odds + back, rest, -1)


def _totals(odds: Tensor, rest: Tensor, back: Tensor) -> Tensor:
    """Return log(q_n + sum_k psi_nk nu_nk), (..., N, 1)."""
    return torch.cat([odds + back, rest], -1).logsumexp(-1, keepdim=True)


def _beliefs(odds: Tensor, rest: Tensor, back: Tensor, steps: int) -> Beliefs:
    """Put together what the messages at the fixed point say."""
    out, totals = _out(odds, rest, back), _totals(odds, rest, back)
    clutter = out.new_zeros(*out.shape[:-2], 1, out.shape[-1])
    of_detection = torch.cat([out, clutter], -2).logsumexp(-2)
    pairs = torch.nn.functional.softplus(out + back)
    bethe = totals.sum((-1, -2)) + of_detection.sum(-1) - pairs.sum((-1, -2))
    marginals, undetected = (odds + back - totals).exp(), (rest - totals).exp().squeeze(-1)
    return Beliefs(marginals, undetected, (-of_detection).exp(), back, bethe, steps)


def _others(terms: Tensor, rest: Tensor, dim: int) -> Tensor:
    """Return log(exp rest + sum of exp of all other terms along ``dim``), for each of them.

    The sum less the term itself loses all digits where that term is nearly all of the sum, so the
    largest term is taken out beforehand, and what it does not see is summed apart.
    """
    if terms.shape[dim] == 0:
        return terms
    top, index = terms.max(dim, keepdim=True)
    first = torch.zeros_like(terms, dtype=torch.bool).scatter(dim, index, True)
    without = terms.masked_fill(first, NEVER)
    small = torch.cat([without, rest], dim).logsumexp(dim, keepdim=True)  # all but the largest
    gap = (without - torch.logaddexp(small, top)).exp()
    return torch.where(first, small, torch.logaddexp(small, top) + torch.log1p(-gap.clamp(max=0.5)))
