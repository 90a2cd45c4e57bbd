"""Moves of whole chains that raise the objective: joins over gaps, splits, tails that swap.

Each move cuts two chains, a before its i-th detection and b before its j-th, and gives each the
other's tail: a join where a's tail and b's head are empty, a split where there is no b. What it
gains is read off the few detections after the cuts, for all moves at once; the best that do not
touch the same chains are made, and each is kept if `Evidence` of the new chains, read whole, has
risen. Sweeps go on until none is kept. Nothing is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from inference.tasks.tracking.kalman import BoolArray, FloatArray, IntArray
from inference.tasks.tracking.whole.evidence import Evidence, EvidenceLaw
from inference.tasks.tracking.whole.gains import Cuts, gains
from inference.tasks.tracking.whole.proposals import proposed
from inference.tasks.tracking.whole.video import Video
from ppl_models.errors import unknown

KINDS = ("join", "split", "swap")


@dataclass(frozen=True)
class Moves:
    """Which moves are tried, and how long.

    Attributes
    ----------
    evidence : EvidenceLaw
        The objective.
    kinds : tuple of str
        Some of ``join``, ``split``, ``swap``.
    longest : float
        Longest gap of a join, seconds.
    least, join : float
        Nats that a move must gain, and that a join must: of chains that end, fewer go on than lives
        alone say, and a wrong join costs a person.
    sweeps : int
        Most rounds.

    Raises
    ------
    InputError
        An unknown kind.
    """

    evidence: EvidenceLaw = field(default_factory=EvidenceLaw)
    kinds: tuple[str, ...] = KINDS
    longest: float = 5.0
    least: float = 3.0
    join: float = 5.0
    sweeps: int = 5

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS:
                raise unknown("kinds", kind, KINDS)


def improve(evidence: Evidence, chains: list[IntArray], how: Moves) -> list[IntArray]:
    """Return the chains that no move makes better, or those after the last sweep.

    ``chains`` are those that ``evidence`` was made with.
    """
    if not chains:
        return []
    worth = evidence.of_chains(chains)
    fresh = np.ones(len(chains), bool)  # of those that changed, or are new: others were tried
    for _ in range(how.sweeps):
        order = _order(evidence.video, chains)
        chains, worth, fresh = [chains[k] for k in order], worth[order], fresh[order]
        cuts = proposed(evidence, chains, fresh, how.kinds, how.longest)
        gain = gains(evidence, chains, cuts)
        least = np.where(_joins(cuts, chains), how.join, how.least)
        chosen = _apart(cuts, gain - least)
        chains, worth, fresh = _made(evidence, chains, worth, cuts.of(chosen), least[chosen])
        if not fresh.any():
            break
    return [chains[k] for k in _order(evidence.video, chains)]


def _joins(cuts: Cuts, chains: list[IntArray]) -> BoolArray:
    """Return which moves are joins: all of one chain, then all of another."""
    count = np.array([len(chain) for chain in chains])
    joins: BoolArray = (cuts.b >= 0) & (cuts.j == 0) & (cuts.i == count[cuts.a])
    return joins


def _apart(cuts: Cuts, gain: FloatArray) -> IntArray:
    """Return the best moves that gain something, of which no two touch the same chain."""
    touched, kept = set[int](), list[int]()
    for m in np.argsort(-gain, kind="stable").tolist():
        if gain[m] <= 0:
            break
        pair = {int(cuts.a[m]), int(cuts.b[m])} - {-1}
        if not pair & touched:
            touched |= pair
            kept.append(m)
    return np.array(kept, np.int64)


def _made(
    evidence: Evidence,
    chains: list[IntArray],
    worth: FloatArray,
    cuts: Cuts,
    least: FloatArray,
) -> tuple[list[IntArray], FloatArray, BoolArray]:
    """Make moves, and take back those that gain nothing; return chains, worths, which are new."""
    new = [_recombined(chains, *map(int, move)) for move in zip(*cuts, strict=True)]
    known = [k for _, heads in new for k in heads]
    evidence.filter([chain for some, _ in new for chain in some], known)
    value = evidence.of_chains([chain for some, _ in new for chain in some])
    end = np.cumsum([len(some) for some, _ in new]).astype(int)
    left, back, kept = np.ones(len(chains), bool), list[IntArray](), list[IntArray]()
    values = [np.zeros(0)]
    moves = zip(cuts.a, cuts.b, new, end, least, strict=True)
    for a, b, (some, _), stop, asked in moves:
        old = [int(n) for n in (a, b) if n >= 0]
        now = value[stop - len(some) : stop]
        if now.sum() > worth[old].sum() + asked:
            left[old] = False
            kept += some
            values.append(now)
        else:
            back += [chains[n] for n in old]
    evidence.filter(back)
    stay = np.flatnonzero(left)
    fresh = np.repeat([False, True], [len(stay), len(kept)])
    return [chains[n] for n in stay] + kept, np.concatenate([worth[stay], *values]), fresh


def _recombined(
    chains: list[IntArray], a: int, i: int, b: int, j: int
) -> tuple[list[IntArray], list[int]]:
    """Return chains after a move, and the lengths of their heads."""
    one, other = chains[a], chains[b] if b >= 0 else chains[a][:0]
    pairs = (one[:i], other[j:]), (other[:j], one[i:])
    full = [(head, tail) for head, tail in pairs if len(head) + len(tail)]
    return [np.concatenate(pair) for pair in full], [len(head) for head, _ in full]


def _order(video: Video, chains: list[IntArray]) -> IntArray:
    """Return the order of first frames."""
    first = np.array([chain[0] for chain in chains], np.int64)
    return np.lexsort((first, video.rows.frame[first]))
