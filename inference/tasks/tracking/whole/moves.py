"""Moves of whole chains that raise the objective: joins over gaps, splits, tails that swap.

Each move cuts two chains, a before its i-th detection and b before its j-th, and gives each the
other's tail: a join where a's tail and b's head are empty, a split where there is no b. What it
gains is read off the few detections after the cuts, for all moves at once; the best that do not
touch the same chains are made, and each is kept if `Evidence` of the new chains, read whole, has
risen. Sweeps go on until none is kept. Nothing is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from inference.tasks.tracking.kalman import BoolArray, FloatArray, IntArray
from inference.tasks.tracking.whole.encounters import encounters
from inference.tasks.tracking.whole.evidence import Evidence, EvidenceLaw
from inference.tasks.tracking.whole.scores import STEADY
from inference.tasks.tracking.whole.video import Video
from ppl_models.errors import unknown

KINDS = ("join", "split", "swap")
GATE = 3.5
"""Standard deviations beyond which a join is not looked at."""
LATE = 0.2
"""Seconds without a detection after which a chain might be split."""
DOUBTFUL = 4.0
"""Log density over that of a box anywhere below which a detection may be another's."""
GLANCE, MEMORY = 0.12, 1.0
"""Seconds of detections after a cut that are read to tell what it gains: of all, then of some."""
HOPELESS = -8.0
"""Nats: a move of which the first few detections say less is not looked at further."""


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

    Raises
    ------
    InputError
        An unknown kind.
    """

    evidence: EvidenceLaw = field(default_factory=EvidenceLaw)
    kinds: tuple[str, ...] = KINDS
    longest: float = 5.0
    least: float = 0.0
    sweeps: int = 8

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS:
                raise unknown("kinds", kind, KINDS)


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
    if not chains:
        return []
    worth = evidence.of_chains(chains)
    fresh = np.ones(len(chains), bool)  # of those that changed, or are new: others were tried
    for _ in range(how.sweeps):
        order = _order(evidence.video, chains)
        chains, worth, fresh = [chains[k] for k in order], worth[order], fresh[order]
        cuts = _proposed(evidence, chains, fresh, how)
        gain = gains(evidence, chains, cuts)
        chosen = cuts.of(_apart(cuts, gain, how.least))
        chains, worth, fresh = _made(evidence, chains, worth, chosen, how.least)
        if not fresh.any():
            break
    return [chains[k] for k in _order(evidence.video, chains)]


def gains(evidence: Evidence, chains: list[IntArray], cuts: Cuts) -> FloatArray:
    """Return what each move adds to the objective, about: paths forget after `MEMORY`."""
    gain = np.full(len(cuts.a), -np.inf)
    some, table = np.arange(len(gain)), _Counts.of(evidence, chains)
    for memory in (GLANCE, MEMORY):
        count = max(3, round(memory * evidence.video.rate))
        gain[some] = _read(evidence, chains, cuts.of(some), table, count)
        some = np.flatnonzero(gain > HOPELESS)
        gain[gain <= HOPELESS] = -np.inf
    return gain


def _read(
    evidence: Evidence, chains: list[IntArray], cuts: Cuts, table: _Counts, memory: int
) -> FloatArray:
    """Return what each move adds, from so many detections after the cuts."""
    a = _Parts.cut(evidence, chains, cuts.a, cuts.i, memory)
    b = _Parts.cut(evidence, chains, cuts.b, cuts.j, memory)
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
    def cut(
        cls,
        evidence: Evidence,
        chains: list[IntArray],
        which: IntArray,
        at: IntArray,
        memory: int,
    ) -> _Parts:
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
    has, follows = head.last >= 0, np.array([len(tail) > 0 for tail in end.tail], bool)
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


def _proposed(evidence: Evidence, chains: list[IntArray], fresh: BoolArray, how: Moves) -> Cuts:
    """Return moves of chains that are ``fresh``, or of others with these."""
    found = []
    if "join" in how.kinds:
        found.append(_joins(evidence, chains, how.longest))
    if "split" in how.kinds:
        found.append(_splits(evidence, chains))
    if "swap" in how.kinds:
        found.append(_swaps(evidence, chains, fresh))
    cuts = Cuts.join(found)
    return cuts.of(fresh[cuts.a] | ((cuts.b >= 0) & fresh[cuts.b]))


def _joins(evidence: Evidence, chains: list[IntArray], longest: float) -> Cuts:
    """Return chains that begin where others that have ended might have gone."""
    rows, path = evidence.video.rows, evidence.path
    first, last = (np.array([chain[k] for chain in chains], np.int64) for k in (0, -1))
    gap = rows.frame[first] - rows.frame[last][:, None]
    a, b = np.nonzero((gap > 0) & (gap <= longest * evidence.video.rate))
    now = evidence.paths.state.of(last[a])
    ahead = path.carry(now, gap[a, b] / evidence.video.rate, rows.unit[last[a]])
    ss, _, _, se, _, ee = ahead.covariance
    spread = ss + 2 * se + ee + path.large(rows.unit[last[a]])
    error = rows.o[first[b]] - ahead.mean[0] - ahead.mean[2]
    near = np.flatnonzero((error**2 < GATE**2 * spread).all(1))
    a, b = a[near], b[near]
    return Cuts(a, np.array([len(chain) for chain in chains])[a], b, np.zeros_like(b))


def _splits(evidence: Evidence, chains: list[IntArray]) -> Cuts:
    """Return places in chains where a detection is far from where it should be, or late."""
    density, low = evidence.paths.density, evidence.video.log_anywhere + DOUBTFUL
    frame, far = evidence.video.rows.frame, LATE * evidence.video.rate
    which, at = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for n, chain in enumerate(chains):
        weak = (density[chain[1:]] < low) | (np.diff(frame[chain]) > far)
        at.append(np.flatnonzero(weak) + 1)
        which.append(np.full(len(at[-1]), n))
    a, i = np.concatenate(which), np.concatenate(at)
    return Cuts(a, i, np.full_like(a, -1), np.zeros_like(a))


def _swaps(evidence: Evidence, chains: list[IntArray], fresh: BoolArray) -> Cuts:
    """Return cuts of two chains where they are near each other."""
    a, b, frame = encounters(evidence.video, chains, fresh)
    i, j = _places(evidence.video, chains, a, frame), _places(evidence.video, chains, b, frame)
    length = np.array([len(chain) for chain in chains])
    whole = ((i == 0) | (j == 0)) & ((i == length[a]) | (j == length[b]))  # nothing to swap
    cuts = np.unique(np.stack([a, i, b, j])[:, ~whole], axis=1)
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
    new = [_recombined(chains, *map(int, move)) for move in zip(*cuts, strict=True)]
    known = [k for _, heads in new for k in heads]
    evidence.filter([chain for some, _ in new for chain in some], known)
    value = evidence.of_chains([chain for some, _ in new for chain in some])
    end = np.cumsum([len(some) for some, _ in new]).astype(int)
    left, back, kept = np.ones(len(chains), bool), list[IntArray](), list[IntArray]()
    values = [np.zeros(0)]
    for a, b, (some, _), stop in zip(cuts.a, cuts.b, new, end, strict=True):
        old = [int(n) for n in (a, b) if n >= 0]
        now = value[stop - len(some) : stop]
        if now.sum() > worth[old].sum() + least:
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
