"""Tracklets: runs of detections that belong together beyond doubt.

From frame to frame the tracklets alive and the detections are matched as a whole (linear
assignment) by log odds: a detection's density, where the tracklet is expected, against the
intensity of detections that are of no tracklet alive (`starts`). A match that another one would
come close to is not made, and its tracklet ends: `linking` decides, which sees both sides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from inference.tasks.tracking.kalman import Belief, BoolArray, FloatArray, IntArray
from inference.tasks.tracking.whole.law import MotionLaw
from inference.tasks.tracking.whole.video import Video


@dataclass(frozen=True)
class Matching:
    """How tracklets are made.

    Attributes
    ----------
    least : float
        Log odds that a match must have.
    margin : float
        Log odds by which it must beat every other of its tracklet, and of its detection.
    patience : float
        Seconds without a detection after which a tracklet ends, at least.
    missed : float
        It ends no sooner than when a run of misses as long has this probability.
    """

    least: float = 5.5
    margin: float = 0.5
    patience: float = 0.12
    missed: float = 0.01

    def wait(self, detected: float, rate: float) -> float:
        """Return the patience in seconds, where a detection is made with this probability."""
        frames = math.log(self.missed) / math.log(1 - detected)
        return max(self.patience, (frames + 0.5) / rate)


def tracklets(
    video: Video,
    law: MotionLaw,
    intensity: FloatArray,
    how: Matching,
    *,
    detected: float = 0.9,
    wait: float | None = None,
) -> list[IntArray]:
    """Return runs of rows, in the order of their first frames.

    Parameters
    ----------
    video : Video
    law : MotionLaw
    intensity : FloatArray
        (R): log density, a frame, of detections that no tracklet alive explains.
    how : Matching
    detected : float
        Probability that an object that is there is detected.
    wait : float, optional
        Seconds of patience; by default `Matching.wait`.
    """
    wait = how.wait(detected, video.rate) if wait is None else wait
    odds = math.log(detected / (1 - detected))
    live, runs = _Live(), list[list[int]]()
    for t in range(video.length):
        rows = np.arange(video.bounds[t], video.bounds[t + 1])
        if not len(rows) and not len(live.run):
            continue  # nobody, for hours maybe
        match, doubted = live.match(t, rows, video, law, intensity, how, odds)
        taken = rows[match[match >= 0]]
        live.learn(t, match >= 0, taken, video, law)
        for run, row in zip(live.run[match >= 0].tolist(), taken.tolist(), strict=True):
            runs[run].append(row)
        live.keep(((t - live.last) / video.rate < wait) & ~doubted)
        fresh = np.setdiff1d(rows, taken)
        live.begin(t, fresh, len(runs), video, law)
        runs += [[row] for row in fresh.tolist()]
    return [np.array(run) for run in runs]


class _Live:
    """The tracklets that may still go on: states, unit, frame last seen, and index of the run."""

    def __init__(self) -> None:
        self.belief, self.unit = Belief.empty(4), np.zeros((0, 4))
        self.last, self.run = np.zeros((2, 0), np.int64)

    def match(
        self,
        t: int,
        rows: IntArray,
        video: Video,
        law: MotionLaw,
        intensity: FloatArray,
        how: Matching,
        odds: float,
    ) -> tuple[IntArray, BoolArray]:
        """Return each tracklet's place in ``rows`` or -1, and which met a doubt."""
        match, doubted = np.full(len(self.run), -1), np.zeros(len(self.run), bool)
        if not len(rows) or not len(self.run):
            return match, doubted
        ahead = law.carry(self.belief, (t - self.last) / video.rate, self.unit)
        unit = self.unit[:, None]
        error, variance = video.rows.o[rows] - ahead.s[:, None], ahead.ss[:, None]
        density = law.log_density(error, variance + law.variance(video.rows.unit[rows]), unit)
        score = density.sum(-1) - intensity[rows] + odds
        who, place, clear = best_pairs(score, how.least, how.margin)
        match[who[clear]] = place[clear]
        doubted[who[~clear]] = True
        return match, doubted

    def learn(self, t: int, who: BoolArray, rows: IntArray, video: Video, law: MotionLaw) -> None:
        """Give some a detection each."""
        index = np.flatnonzero(who)
        ahead = law.carry(
            self.belief.take(index), (t - self.last[index]) / video.rate, self.unit[index]
        )
        self.belief.put(index, law.learn(ahead, video.rows.o[rows], self.unit[index]))
        self.last[index] = t
        self.unit[index] = 0.8 * self.unit[index] + 0.2 * video.rows.unit[rows]

    def keep(self, who: BoolArray) -> None:
        """Forget the others."""
        self.belief, self.unit = self.belief.take(np.flatnonzero(who)), self.unit[who]
        self.last, self.run = self.last[who], self.run[who]

    def begin(self, t: int, rows: IntArray, count: int, video: Video, law: MotionLaw) -> None:
        """Add a tracklet for each row; so many there were."""
        unit = video.rows.unit[rows]
        self.belief = self.belief.join(law.begin(video.rows.o[rows], unit))
        self.unit = np.concatenate([self.unit, unit])
        self.last = np.concatenate([self.last, np.full(len(rows), t)])
        self.run = np.concatenate([self.run, count + np.arange(len(rows))])


def best_pairs(
    score: FloatArray, least: float, margin: float
) -> tuple[IntArray, IntArray, BoolArray]:
    """Return rows and columns of the best assignment of scores (A, K), and which are clear.

    Pairs have more than ``least``. Clear is what beats, by a margin, ``least`` and all other scores
    of its row and its column.
    """
    row, column = linear_sum_assignment(-np.maximum(score, least))
    good = score[row, column] > least
    row, column = row[good], column[good]
    others = score.copy()
    others[row, column] = -np.inf
    rival = np.maximum(others.max(1)[row], others.max(0)[column])
    clear: BoolArray = score[row, column] - np.maximum(rival, least) > margin
    return row, column, clear
