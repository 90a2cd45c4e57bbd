"""Moves of whole chains that raise the objective: joins over gaps, splits, tails that swap.

Each move cuts two chains, a before its i-th detection and b before its j-th, and gives each the
other's tail: a join where a's tail and b's head are empty, a split where there is no b. What it
gains is read off the few detections after the cuts, for all moves at once; the best that do not
touch the same chains are made, and each is kept if `Evidence` of the new chains, read whole, has
risen. Sweeps go on until none is kept. Nothing is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from inference.tasks.tracking.kalman import BoolArray, FloatArray, IntArray
from inference.tasks.tracking.whole.encounters import encounters
from inference.tasks.tracking.whole.candidates import candidates
from inference.tasks.tracking.whole.evidence import Evidence, EvidenceLaw
from inference.tasks.tracking.whole.scores import STEADY
from inference.tasks.tracking.whole.video import Video

KINDS = ("join", "split", "swap")
HOPEFUL = 0.0
"""Log odds of motion from which on a join is looked at."""
DOUBTFUL = 4.0
"""Log density over that of a box anywhere below which a detection may be another's."""
MEMORY = 1.0
"""Seconds of detections after a cut that are read to tell what it gains."""


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
    least : float
        Nats that a move must gain.
    sweeps : int
        Most rounds.
    """

    evidence: EvidenceLaw = field(default_factory=EvidenceLaw)
    kinds: tuple[str, ...] = KINDS
    longest: float = 5.0
    least: float = 0.0
    sweeps: int = 8


class Cuts(NamedTuple):
    """M moves: a's head goes on with b's tail, and b's head with a's."""

    a: IntArray
    i: IntArray
    b: IntArray
    """-1 for none."""
    j: IntArray

    def of(self, which: BoolArray | IntArray) -> Cuts:
        """Return some of the moves."""
        return Cuts._make(part[which] for part in self)

    @classmethod
    def join(cls, parts: list[Cuts]) -> Cuts:
        """Return all moves of several lists."""
        none = cls(*np.zeros((4, 0), np.int64))
        return cls._make(np.concatenate(x) for x in zip(none, *parts, strict=True))


def improve(evidence: Evidence, chains: list[IntArray], how: Moves) -> list[IntArray]:
    """Return the chains that no move makes better, or those after the last sweep.

    ``chains`` are those that ``evidence`` was made with.
    """
    worth = evidence.of_chains(chains)
    fresh = np.ones(len(chains), bool)  # of those that changed, or are new: others were tried
    for _ in range(how.sweeps):
        order = _order(evidence.video, chains)
        chains, worth, fresh = [chains[k] for k in order], worth[order], fresh[order]
        cuts = _proposed(evidence, chains, how)
        cuts = cuts.of(fresh[cuts.a] | ((cuts.b >= 0) & fresh[cuts.b]))
        gain = gains(evidence, chains, cuts)
        chosen = cuts.of(_apart(cuts, gain, how.least))
        chains, worth, fresh = _made(evidence, chains, worth, chosen, how.least)
        if not fresh.any():
            break
    return [chains[k] for k in _order(evidence.video, chains)]


def gains(evidence: Evidence, chains: list[IntArray], cuts: Cuts) -> FloatArray:
    """Return what each move adds to the objective, about: paths forget after `MEMORY`."""
    if not len(cuts.a):
        return np.zeros(0)
    table = _Counts.of(evidence, chains)
    a, b = _Parts.cut(evidence, chains, cuts.a, cuts.i), _Parts.cut(evidence, chains, cuts.b, cuts.j)
    new = _meeting(evidence, a, b, kept=False) + _meeting(evidence, b, a, kept=False)
    old = _meeting(evidence, a, a, kept=True) + _meeting(evidence, b, b, kept=True)
    return new - old + table.gain(evidence, cuts)


class _Parts(NamedTuple):
    """Heads and tails of M chains that are cut."""

    last: IntArray
    """(M): last row of the head, -1 for none."""
    earlier: IntArray
    """(M): a row of the head some time before."""
    tail: list[IntArray]
    """Of M: the first rows of the tail."""

    @classmethod
    def cut(cls, evidence: Evidence, chains: list[IntArray], which: IntArray, at: IntArray) -> _Parts:
        memory = max(3, round(MEMORY * evidence.video.rate))
        none = np.zeros(0, np.int64)
        last, earlier = np.full((2, len(which)), -1)
        tail = [none] * len(which)
        for m, (n, i) in enumerate(zip(which.tolist(), at.tolist(), strict=True)):
            if n < 0:
                continue
            chain = chains[n]
            tail[m] = chain[i : i + memory]
            if i > 0:
                last[m], earlier[m] = chain[i - 1], evidence.earlier(chain, i - 1)
        return cls(last, earlier, tail)


def _meeting(evidence: Evidence, head: _Parts, end: _Parts, kept: bool) -> FloatArray:
    """Return what it adds that heads go on with tails; ``kept``: as they do now."""
    has, follows = head.last >= 0, np.array([len(tail) > 0 for tail in end.tail])
    found = np.zeros(len(has))
    stop = np.flatnonzero(has & ~follows)
    found[stop] = evidence.ends(head.last[stop], head.earlier[stop])
    go, begin = np.flatnonzero(has & follows), np.flatnonzero(~has & follows)
    going, beginning = ([end.tail[m] for m in some] for some in (go, begin))
    first = np.array([tail[0] for tail in going], np.int64)
    found[go] = evidence.again(head.last[go], first)
    if kept:
        density = evidence.paths.density
        found[go] += np.array([density[tail].sum() for tail in going])
        starts = np.array([tail[0] for tail in beginning], np.int64)
        found[begin] = np.array([density[tail].sum() for tail in beginning])
        found[begin] += evidence.begins(starts)
    else:
        found[go] += evidence.continues(head.last[go], going)
        found[begin] = evidence.starts_with(beginning)
    return found


class _Counts(NamedTuple):
    """Scores and frames of all heads of all chains, row offset[n] + i for the first i of n."""

    offset: IntArray
    length: IntArray
    counts: FloatArray
    frame: FloatArray
    """(...): of the i-th detection."""

    @classmethod
    def of(cls, evidence: Evidence, chains: list[IntArray]) -> _Counts:
        learned, video = evidence.learned, evidence.video
        length = np.array([len(chain) for chain in chains])
        offset = np.cumsum(length + 1) - (length + 1)
        flat = np.concatenate(chains)
        inner = np.delete(np.arange(len(flat) + len(chains)), offset)
        one = np.zeros((len(flat) + len(chains), learned.settings.num_bins + 1))
        one[inner, learned.bins[flat]] = min(1.0, STEADY / video.rate)
        frame = np.zeros(len(one))
        frame[inner - 1] = video.rows.frame[flat]
        return cls(offset, length, np.cumsum(one, 0)[:, :-1], frame)

    def gain(self, evidence: Evidence, cuts: Cuts) -> FloatArray:
        """Return what moves add to the evidence of kinds."""
        a, b = self._cut(cuts.a, cuts.i), self._cut(cuts.b, cuts.j)
        pairs = ((a[0], b[1]), (b[0], a[1])), ((a[0], a[1]), (b[0], b[1]))
        new, old = (sum(self._kind(evidence, *pair) for pair in some) for some in pairs)
        return np.asarray(new - old)

    def _cut(self, which: IntArray, at: IntArray) -> tuple[FloatArray, FloatArray]:
        """Return counts, first and last frames (M, K + 2) of heads and tails, NaN for none."""
        none = which < 0
        begin = self.offset[which]
        end, cut = begin + self.length[which], begin + at
        heads = [self.counts[cut] - self.counts[begin]]
        heads += [self.frame[begin, None], self.frame[np.maximum(cut - 1, begin), None]]
        tails = [self.counts[end] - self.counts[cut]]
        tails += [self.frame[np.minimum(cut, end - 1), None], self.frame[end - 1, None]]
        head, tail = np.concatenate(heads, 1), np.concatenate(tails, 1)
        head[none | (cut == begin)], tail[none | (cut == end)] = np.nan, np.nan
        return head, tail

    def _kind(self, evidence: Evidence, head: FloatArray, tail: FloatArray) -> FloatArray:
        has, follows = ~np.isnan(head[:, 0]), ~np.isnan(tail[:, 0])
        counts = np.nan_to_num(head[:, :-2]) + np.nan_to_num(tail[:, :-2])
        first = np.where(has, head[:, -2], tail[:, -2])
        last = np.where(follows, tail[:, -1], head[:, -1])
        seconds = np.nan_to_num(last - first + 1) / evidence.video.rate
        return np.where(has | follows, evidence.kinds(counts, seconds), 0.0)


def _proposed(evidence: Evidence, chains: list[IntArray], how: Moves) -> Cuts:
    """Return moves that may gain something."""
    found = []
    for kind, propose in (("join", _joins), ("split", _splits), ("swap", _swaps)):
        if kind in how.kinds:
            found.append(propose(evidence, chains, how))
    return Cuts.join(found)


def _joins(evidence: Evidence, chains: list[IntArray], how: Moves) -> Cuts:
    video, law = evidence.video, evidence.law
    worth = evidence.learned.odds_of_scores(evidence.learned.counts(video, chains))
    links = candidates(video, chains, worth, law.motion, law.surroundings, how.longest)
    links = links.of(links.odds > HOPEFUL)
    length = np.array([len(chain) for chain in chains])
    return Cuts(links.source, length[links.source], links.target, np.zeros_like(links.target))


def _splits(evidence: Evidence, chains: list[IntArray], how: Moves) -> Cuts:
    density, low = evidence.paths.density, evidence.video.log_anywhere + DOUBTFUL
    frame, far = evidence.video.rows.frame, 0.2 * evidence.video.rate
    which, at = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for n, chain in enumerate(chains):
        weak = (density[chain[1:]] < low) | (np.diff(frame[chain]) > far)
        at.append(np.flatnonzero(weak) + 1)
        which.append(np.full(len(at[-1]), n))
    a, i = np.concatenate(which), np.concatenate(at)
    return Cuts(a, i, np.full_like(a, -1), np.zeros_like(a))


def _swaps(evidence: Evidence, chains: list[IntArray], how: Moves) -> Cuts:
    a, b, frame = encounters(evidence.video, chains)
    i, j = _places(evidence.video, chains, a, frame), _places(evidence.video, chains, b, frame)
    length = np.array([len(chain) for chain in chains])
    whole = ((i == 0) | (j == 0)) & ((i == length[a]) | (j == length[b]))  # nothing to swap
    none = ((i == 0) & (j == 0)) | ((i == length[a]) & (j == length[b]))
    cuts = np.unique(np.stack([a, i, b, j])[:, ~(whole | none)], axis=1)
    return Cuts(*cuts)


def _places(video: Video, chains: list[IntArray], which: IntArray, frame: IntArray) -> IntArray:
    """Return how many detections of each chain come before a frame."""
    place = np.zeros(len(which), np.int64)
    for n in np.unique(which):
        some = which == n
        place[some] = np.searchsorted(video.rows.frame[chains[n]], frame[some])
    return place


def _apart(cuts: Cuts, gain: FloatArray, least: float) -> IntArray:
    """Return the best moves, of which no two touch the same chain."""
    touched, kept = set[int](), list[int]()
    for m in np.argsort(-gain, kind="stable").tolist():
        if gain[m] <= least:
            break
        pair = {int(cuts.a[m]), int(cuts.b[m])} - {-1}
        if not pair & touched:
            touched |= pair
            kept.append(m)
    return np.array(kept, np.int64)


def _made(
    evidence: Evidence, chains: list[IntArray], worth: FloatArray, cuts: Cuts, least: float
) -> tuple[list[IntArray], FloatArray, BoolArray]:
    """Make moves, and take back those that gain nothing; return chains, worths, which are new."""
    new = [list(_recombined(chains, *move)) for move in zip(*map(np.ndarray.tolist, cuts), strict=True)]
    evidence.filter([chain for some in new for chain in some])
    left, back, kept = np.ones(len(chains), bool), list[IntArray](), list[IntArray]()
    values = list[FloatArray]()
    for a, b, some in zip(cuts.a, cuts.b, new, strict=True):
        old = [int(n) for n in (a, b) if n >= 0]
        value = evidence.of_chains(some)
        if value.sum() > worth[old].sum() + least:
            left[old] = False
            kept += some
            values.append(value)
        else:
            back += [chains[n] for n in old]
    evidence.filter(back)
    stay = np.flatnonzero(left)
    fresh = np.repeat([False, True], [len(stay), len(kept)])
    return [chains[n] for n in stay] + kept, np.concatenate([worth[stay], *values]), fresh


def _recombined(chains: list[IntArray], a: int, i: int, b: int, j: int) -> Iterator[IntArray]:
    none = np.zeros(0, np.int64)
    other = chains[b] if b >= 0 else none
    for head, tail in ((chains[a][:i], other[j:]), (other[:j], chains[a][i:])):
        if len(head) + len(tail):
            yield np.concatenate([head, tail])


def _order(video: Video, chains: list[IntArray]) -> IntArray:
    """Return the order of first frames."""
    first = np.array([chain[0] for chain in chains], np.int64)
    return np.lexsort((first, video.rows.frame[first]))
