r"""Lives and matchings together, fast: chains of objects and loopy belief propagation in frames.

Of objects whose paths are known, with at most one detection each in a frame: a slot's chain tells
each frame how probable it is that the object is seen, from all other frames; the matching of a
frame says to each chain what its detections say for *seen*, from all other objects. The two take
turns until nothing changes. With one slot, or one detection a frame, the result is exact (the
graph is a tree); else it is near (`tests.ppl_models.mot`), in time linear in frames, slots and
detections, where the exact sum is exponential in the slots.

Reference: Turner, Bottone, Avasarala, "A complete variational tracker", NeurIPS 2014, sections 3
and 4 (the same two messages).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ppl_models.mot.belief_propagation import Beliefs, propagate_beliefs
from ppl_models.mot.life import NEVER, SEEN, Lives, infer_lives


class Objects(NamedTuple):
    """What is known of the lives and detections of N slots."""

    lives: Lives
    """Of each slot: batch (..., N)."""
    beliefs: Beliefs
    """Of each frame: batch (..., T). `Beliefs.undetected` counts who is not seen too."""
    log_evidence: Tensor
    """(...): the Bethe approximation of log p(detections), beyond that of all being clutter."""


@torch.no_grad()
def infer_objects(
    initial: Tensor,
    transition: Tensor,
    log_odds: Tensor,
    log_missed: float,
    mask: Tensor | None = None,
    *,
    most_rounds: int = 30,
    tolerance: float = 1e-4,
) -> Objects:
    """Infer lives and matchings of objects whose paths are known.

    Parameters
    ----------
    initial, transition : Tensor
        (..., N, 4) and (..., N, T - 1, 4, 4), broadcasting: in logs, those of `Life`.
    log_odds : Tensor
        (..., T, N, K): log p N(o_tk; box_tn) p(score | object), less the same of clutter,
        log clutter_rate u(o_tk) p(score | clutter).
    log_missed : float
        log(1 - p): that of an object that is seen, and not detected.
    mask : Tensor, optional
        (..., T, K) bool: which places hold a detection. Others are not read.
    most_rounds : int
        Turns of frames and chains, at most.
    tolerance : float
        Ends where no log evidence of *seen* changed by more, nats.
    """
    if mask is not None:
        log_odds = torch.where(mask[..., None, :], log_odds, NEVER)
    missed = log_odds.new_full((*log_odds.shape[:-1], 1), log_missed)
    seen, change, rounds = torch.zeros_like(missed[..., 0]), torch.inf, 0  # (..., T, N)
    while change > tolerance and rounds < most_rounds:
        before, rounds = seen, rounds + 1
        prior = _prior_of_seen(initial, transition, before)
        log_not = torch.log1p(-prior.exp() * (1 - missed[..., 0].exp()))
        beliefs = propagate_beliefs(log_odds + prior[..., None], log_not, tolerance=tolerance)
        seen = torch.cat([log_odds + beliefs.messages, missed], -1).logsumexp(-1)
        change = float((seen - before).abs().max()) if seen.numel() else 0.0
    lives = infer_lives(initial, transition, _evidence(seen))
    both = torch.logaddexp(torch.log1p(-prior.exp()), prior + seen)
    total = lives.log_evidence.sum(-1) + beliefs.log_partition.sum(-1) - both.sum((-1, -2))
    return Objects(lives, beliefs, total)


def _prior_of_seen(initial: Tensor, transition: Tensor, seen: Tensor) -> Tensor:
    """Return log p(seen in frame t | evidence of all other frames), (..., T, N)."""
    evidence = _evidence(seen)
    states = infer_lives(initial, transition, evidence).states - evidence
    share = states[..., SEEN] - states.logsumexp(-1)
    return share.clamp(max=0).transpose(-1, -2)


def _evidence(seen: Tensor) -> Tensor:
    """Return evidence (..., N, T, 4) of the four states from that of *seen*, (..., T, N)."""
    zero = torch.zeros_like(seen)
    rows = [seen if state == SEEN else zero for state in range(4)]
    return torch.stack(rows, -1).transpose(-2, -3)
