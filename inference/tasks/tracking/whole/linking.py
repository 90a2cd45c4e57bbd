r"""Chains of tracklets: each tracklet is followed by one other, or none.

All links are chosen together, as the assignment of the highest total log odds,

.. math::
    \log \frac{p(b \mid a)\, p(\mathrm{gap})}{\lambda(b)} + \log
    \sum_{c} \frac{p(c \mid a)\, p(c \mid b)}{p(c)},

of b's first position and velocity, where a's motion leads, against the intensity of starts there;
of how long one is unseen; and of both being objects, or both clutter (c). It is done repeatedly,
over gaps that grow: the longer a tracklet, the better its velocity is known.

References: L. Zhang, Y. Li, R. Nevatia, "Global data association for multi-object tracking using
network flows", CVPR 2008; C. Huang, B. Wu, R. Nevatia, "Robust object tracking by hierarchical
association of detection responses", ECCV 2008.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from inference.tasks.tracking.kalman import BoolArray, FloatArray, IntArray
from inference.tasks.tracking.whole.candidates import Links, candidates
from inference.tasks.tracking.whole.law import MotionLaw
from inference.tasks.tracking.whole.occlusion import cover_in_gaps
from inference.tasks.tracking.whole.scores import Learned
from inference.tasks.tracking.whole.starts import Surroundings
from inference.tasks.tracking.whole.video import Video


@dataclass(frozen=True)
class Linking:
    """How tracklets are linked.

    Attributes
    ----------
    stages : tuple of float
        Longest gap of each round, in seconds.
    least : float
        Log odds that a link must have.
    short, long, long_share : float
        How long one is unseen: a mixture of two exponential laws, their means in seconds.
    uncovered : float
        Log odds that a second unseen costs where nothing stands before the object.
    same_kind : float
        Weight of the log odds that both are objects, or both clutter.
    surroundings : Surroundings
    """

    stages: tuple[float, ...] = (0.15, 0.5, 2.5)
    least: float = 3.0
    short: float = 0.15
    long: float = 1.2
    long_share: float = 0.2
    uncovered: float = 1.5
    same_kind: float = 2.0
    surroundings: Surroundings = field(default_factory=lambda: Surroundings(log_shape=0.2))

    def log_gap(self, frames: IntArray, rate: float) -> FloatArray:
        """Log probability that one is seen again so many frames later, and not before."""
        stay = np.exp(-1 / (rate * np.array([self.short, self.long])))
        share = np.array([1 - self.long_share, self.long_share])
        law = share * (1 - stay) * stay ** (frames[:, None] - 1)
        log_law: FloatArray = np.log(law.sum(1).clip(min=1e-300))
        return log_law


def link(
    video: Video,
    runs: list[IntArray],
    learned: Learned,
    objects: BoolArray,
    law: MotionLaw,
    how: Linking,
) -> list[IntArray]:
    """Return chains of tracklets as longer runs, in the order of their first frames.

    Parameters
    ----------
    video : Video
    runs : list of IntArray
        Rows of each tracklet's detections.
    learned : Learned
        What scores say.
    objects : BoolArray
        (R): detections that may hide others.
    law : MotionLaw
    how : Linking
    """
    for longest in how.stages if runs else ():
        runs = in_order(video, runs)
        counts = learned.counts(video, runs)
        worth = learned.odds_of_scores(counts)
        found = candidates(video, runs, worth, law, how.surroundings, longest)
        gain = found.odds + how.log_gap(found.gap, video.rate) - how.least
        found, gain = found.of(gain > 0), gain[gain > 0]
        bare = 1 - cover_in_gaps(video, runs, found, objects)
        gain = gain - how.uncovered * bare * (found.gap - 1) / video.rate
        chains = _chains(found, gain, counts, learned, how)
        runs = [np.concatenate([runs[i] for i in chain]) for chain in chains]
    return in_order(video, runs)


def in_order(video: Video, runs: list[IntArray]) -> list[IntArray]:
    """Return runs in the order of their first frames."""
    return sorted(runs, key=lambda run: (video.rows.frame[run[0]], run[0]))


def _chains(
    found: Links, gain: FloatArray, counts: FloatArray, learned: Learned, how: Linking
) -> list[list[int]]:
    """Choose links twice: first by what each tracklet is worth, then by what its chain is."""
    worth = learned.odds_of_scores(counts)
    for _ in range(2):
        share = (1 / (1 + np.exp(-worth.clip(-30, 30)))).clip(0.02, 0.98)
        a, b = share[found.source], share[found.target]
        same = np.log(2 * a * b + 2 * (1 - a) * (1 - b))
        follow = best_links(len(worth), found.source, found.target, gain + how.same_kind * same)
        chains = chains_of(len(worth), follow)
        sums = np.stack([counts[chain].sum(0) for chain in chains])
        for chain, odds in zip(chains, learned.odds_of_scores(sums), strict=True):
            worth[chain] = odds
    return chains


def best_links(count: int, source: IntArray, target: IntArray, gain: FloatArray) -> dict[int, int]:
    """Return links of the highest total gain, each node the source of one and the target of one.

    Links without a gain are left out.
    """
    good = gain > 0
    source, target, gain = source[good], target[good], gain[good]
    if not len(source):
        return {}
    nodes = np.arange(count)
    alone = gain.max() + 1  # each source has a column of its own for not being followed
    cost = np.concatenate([alone - gain, np.full(count, alone)])
    rows, columns = np.concatenate([source, nodes]), np.concatenate([target, count + nodes])
    graph = coo_matrix((cost, (rows, columns)), shape=(count, 2 * count)).tocsr()
    row, column = min_weight_full_bipartite_matching(graph)
    return {int(i): int(j) for i, j in zip(row, column, strict=True) if j < count}


def chains_of(count: int, follow: dict[int, int]) -> list[list[int]]:
    """Return the chains of nodes that a map of links makes; every node is in one."""
    later = set(follow.values())
    chains = []
    for node in range(count):
        if node not in later:
            chain = [node]
            while chain[-1] in follow:
                chain.append(follow[chain[-1]])
            chains.append(chain)
    return chains
