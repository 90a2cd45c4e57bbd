"""Objects of a video: tracklets, their links, and which chains are objects."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from inference.tasks.tracking.kalman import FloatArray, IntArray
from inference.tasks.tracking.whole.law import LINKING, MATCHING, MotionLaw
from inference.tasks.tracking.whole.linking import Linking, link
from inference.tasks.tracking.whole.matching import Matching, tracklets
from inference.tasks.tracking.whole.starts import Surroundings, first_of, intensity
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
        From frame to frame; over gaps; of the boxes that are told.
    matches : Matching
    links : Linking
    surroundings : Surroundings
        Of starts, as matches see them.
    """

    matching: MotionLaw = MATCHING
    linking: MotionLaw = LINKING
    smoothing: MotionLaw = MATCHING
    matches: Matching = field(default_factory=Matching)
    links: Linking = field(default_factory=Linking)
    surroundings: Surroundings = field(default_factory=Surroundings)


def find_tracklets(video: Video, design: Design) -> list[IntArray]:
    """Return tracklets, in two passes: the first learns what the second weighs matches against."""
    careful = replace(design.matching, outliers=0.03)
    nowhere = np.full(len(video.rows.frame), video.log_anywhere)
    wait = max(FIRST_WAIT, FIRST_FRAMES / video.rate)
    first = tracklets(video, careful, nowhere, design.matches, detected=0.5, wait=wait)
    starts = video.rows.o[first_of(video, first, after_first_frame=True)]
    rival = intensity(video, video.rows.o, starts, np.ones(len(starts)), design.surroundings)
    share = detected_share(video, first)
    return tracklets(video, design.matching, rival, design.matches, detected=share)


def detected_share(video: Video, runs: list[IntArray]) -> float:
    """Return how often an object between its first detection and its last is detected."""
    frames = [video.rows.frame[run] for run in runs if len(run) >= LONG]
    seen = sum(len(f) - 2 for f in frames)
    there = sum(int(f[-1] - f[0]) - 1 for f in frames)
    return float(np.clip(seen / there, 0.2, 0.98)) if there else 0.9


def find_chains(video: Video, odds: FloatArray, design: Design) -> list[IntArray]:
    """Return all chains of detections, objects' and clutter's, by ``odds`` (R) of each."""
    return link(video, find_tracklets(video, design), odds, design.linking, design.links)
