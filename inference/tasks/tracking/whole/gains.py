"""What moves of chains gain: read off the few detections that follow where chains are cut.

A move cuts two chains, a before its i-th detection and b before its j-th, and gives each the
other's tail: a join where a's tail and b's head are empty, a split where there is no b.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from inference.tasks.tracking.kalman import BoolArray, FloatArray, IntArray
from inference.tasks.tracking.whole.evidence import Evidence
from inference.tasks.tracking.whole.scores import STEADY

GLANCE, MEMORY = 0.12, 0.6
"""Seconds of detections after a cut that are read to tell what it gains: of all, then of some."""
HOPELESS = -4.0
"""Nats: a move of which the first few detections say less is not looked at further."""


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
