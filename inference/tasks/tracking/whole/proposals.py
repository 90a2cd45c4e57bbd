"""Moves that may gain something: joins over gaps, splits at weak links, swaps of near tails."""

from __future__ import annotations

import numpy as np

from inference.tasks.tracking.kalman import BoolArray, IntArray
from inference.tasks.tracking.whole.encounters import encounters
from inference.tasks.tracking.whole.evidence import Evidence
from inference.tasks.tracking.whole.gains import Cuts
from inference.tasks.tracking.whole.video import Video

GATE = 3.0
"""Standard deviations beyond which a join is not looked at."""
LATE = 0.2
"""Seconds without a detection after which a chain might be split."""
DOUBTFUL = 4.0
"""Log density over that of a box anywhere below which a detection may be another's."""


def proposed(
    evidence: Evidence,
    chains: list[IntArray],
    fresh: BoolArray,
    kinds: tuple[str, ...],
    longest: float,
) -> Cuts:
    """Return moves of chains that are ``fresh``, or of others with these."""
    found = []
    if "join" in kinds:
        found.append(_joins(evidence, chains, longest))
    if "split" in kinds:
        found.append(_splits(evidence, chains))
    if "swap" in kinds:
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
