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
TOGETHER = 100_000
"""Pairs that are looked at at once, about."""
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
    rows, many = evidence.video.rows, len(chains) ** 2 // TOGETHER + 1
    first, last = (np.array([chain[k] for chain in chains], np.int64) for k in (0, -1))
    length, found = np.array([len(chain) for chain in chains]), list[Cuts]()
    for some in np.array_split(np.arange(len(chains)), many):
        gap = rows.frame[first] - rows.frame[last[some]][:, None]
        a, b = np.nonzero((gap > 0) & (gap <= longest * evidence.video.rate))
        near = _near(evidence, last[some[a]], first[b])
        a, b = some[a[near]], b[near]
        found.append(Cuts(a, length[a], b, np.zeros_like(b)))
    return Cuts.join(found)


def _near(evidence: Evidence, before: IntArray, rows: IntArray) -> BoolArray:
    """Return whether detections ``rows`` are where paths from rows ``before`` might lead."""
    video, path = evidence.video, evidence.path
    unit = video.rows.unit[before]
    seconds = (video.rows.frame[rows] - video.rows.frame[before]) / video.rate
    ahead = path.carry(evidence.paths.state.of(before), seconds, unit)
    ss, _, _, se, _, ee = ahead.covariance
    error = video.rows.o[rows] - ahead.mean[0] - ahead.mean[2]
    near: BoolArray = (error**2 < GATE**2 * (ss + 2 * se + ee + path.large(unit))).all(1)
    return near


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
