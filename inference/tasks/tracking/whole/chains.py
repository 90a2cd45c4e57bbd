"""Objects of a video: tracklets, their links, and which chains are objects."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from inference.tasks.tracking.kalman import BoolArray, FloatArray, IntArray
from inference.tasks.tracking.whole.errors import learn_errors
from inference.tasks.tracking.whole.evidence import Evidence
from inference.tasks.tracking.whole.law import LINKING, MATCHING, MotionLaw
from inference.tasks.tracking.whole.linking import Linking, link
from inference.tasks.tracking.whole.matching import Matching, tracklets
from inference.tasks.tracking.whole.moves import Moves, improve
from inference.tasks.tracking.whole.scores import Learned, ScoreLaw, learn_scores, seconds_of
from inference.tasks.tracking.whole.starts import Surroundings, intensity, later_starts
from inference.tasks.tracking.whole.video import Video

FIRST_WAIT = 0.25
"""Seconds of patience of the first tracklets, of which starts and misses are learned."""
FIRST_FRAMES = 3.5
LONG = 5
"""Detections of a tracklet from which its gaps count."""


@dataclass(frozen=True)
class Design:
    """What is believed of videos.

    Attributes
    ----------
    matching, linking, smoothing : MotionLaw
        From frame to frame; over gaps; of the boxes that are reported.
    matches : Matching
    links : Linking
    last_links : Linking
        Of objects, once clutter is gone.
    surroundings : Surroundings
        Of starts, as matches see them.
    scores : ScoreLaw
    rounds : int
        Times that links and what scores say are found in turn.
    patience : float
        Log odds, a detection, that a stretch may have against it and still be an object's.
    moves : Moves, optional
        Moves of whole chains that raise one objective; None for none.
    """

    matching: MotionLaw = MATCHING
    linking: MotionLaw = LINKING
    smoothing: MotionLaw = MATCHING
    matches: Matching = field(default_factory=Matching)
    links: Linking = field(default_factory=Linking)
    last_links: Linking = field(
        default_factory=lambda: Linking(stages=(2.5, 5.0), least=1.0, long=2.0, long_share=0.5)
    )
    surroundings: Surroundings = field(default_factory=Surroundings)
    scores: ScoreLaw = field(default_factory=ScoreLaw)
    rounds: int = 2
    patience: float = 1.5
    moves: Moves | None = field(default_factory=Moves)


def find_tracklets(video: Video, design: Design) -> list[IntArray]:
    """Return tracklets, in two passes: the first learns what the second weighs matches against."""
    careful = replace(design.matching, outliers=0.03)
    nowhere = np.full(len(video.rows.frame), video.log_anywhere)
    wait = max(FIRST_WAIT, FIRST_FRAMES / video.rate)
    first = tracklets(video, careful, nowhere, design.matches, detected=0.5, wait=wait)
    starts = video.rows.o[later_starts(video, first)]
    rival = intensity(video, video.rows.o, starts, np.ones(len(starts)), design.surroundings)
    share = detected_share(video, first)
    return tracklets(video, design.matching, rival, design.matches, detected=share)


def detected_share(video: Video, runs: list[IntArray]) -> float:
    """Return how often an object between its first detection and its last is detected."""
    frames = [video.rows.frame[run] for run in runs if len(run) >= LONG]
    seen = sum(len(f) - 2 for f in frames)
    there = sum(int(f[-1] - f[0]) - 1 for f in frames)
    return float(np.clip(seen / there, 0.2, 0.98)) if there else 0.9


class Objects(NamedTuple):
    """Chains of detections that are objects'."""

    chains: list[IntArray]
    """Rows of each object's detections."""
    odds: FloatArray
    """(N): log odds of each to be an object, and not clutter."""
    learned: Learned
    """What scores say."""


def find_objects(video: Video, runs: list[IntArray], design: Design) -> Objects:
    """Return the objects of a video: chains of its tracklets ``runs`` that are hardly clutter.

    Links and what scores say are found in turn. Then each chain is cut to the stretch that its
    scores speak for, what is clutter is dropped, and the rest is linked once more: with clutter
    gone, other starts are fewer, and links surer.
    """
    if not runs:
        return Objects([], np.zeros(0), learn_scores(video, [], design.scores))
    chains, learned = runs, learn_scores(video, runs, design.scores)
    for _ in range(design.rounds):
        solid = _members(video, _kept(video, chains, learned, 0.0))
        chains = link(video, runs, learned, solid, design.linking, design.links)
        learned = learn_scores(video, chains, design.scores)
    worth = learned.of_detections + design.patience
    kept = _kept(video, chains, learned, -design.patience)
    cut = [best_stretch(chain, worth[chain]) for chain in kept]
    if cut:
        cut = link(video, cut, learned, _members(video, cut), design.linking, design.last_links)
    if cut and design.moves is not None:
        cut = _moved(video, cut, learned, design.moves)
    odds = learned.odds(learned.counts(video, cut), seconds_of(video, cut))
    good = np.flatnonzero(odds > 0)
    return Objects([cut[i] for i in good], odds[good], learned)


def _moved(video: Video, chains: list[IntArray], learned: Learned, how: Moves) -> list[IntArray]:
    """Return chains after moves that raise the evidence."""
    errors = learn_errors(video, chains, how.evidence.errors)
    share = detected_share(video, chains)
    return improve(Evidence(video, chains, learned, how.evidence, errors, share), chains, how)


def best_stretch(chain: IntArray, worth: FloatArray) -> IntArray:
    """Return the stretch of a chain of the largest sum of worths, of each of its detections."""
    sums = np.concatenate([[0.0], np.cumsum(worth)])
    lowest = np.minimum.accumulate(sums[:-1])
    end = int(np.argmax(sums[1:] - lowest))
    begin = int(np.argmin(sums[: end + 1]))
    return chain[begin : end + 1]


def _kept(video: Video, chains: list[IntArray], learned: Learned, least: float) -> list[IntArray]:
    odds = learned.odds(learned.counts(video, chains), seconds_of(video, chains))
    return [chain for chain, one in zip(chains, odds, strict=True) if one > least]


def _members(video: Video, chains: list[IntArray]) -> BoolArray:
    """Return which rows (R) are of some chain."""
    member = np.zeros(len(video.rows.frame), bool)
    for chain in chains:
        member[chain] = True
    return member
