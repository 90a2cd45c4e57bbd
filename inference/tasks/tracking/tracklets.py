"""Tracklets: runs of detections that a Kalman filter of the linear prior joins beyond doubt.

A tracklet and a detection are joined if each is the other's best by a margin. Frames may be
missed. Where anything else could be meant, tracklets end, and new ones begin: `linking` decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from inference.tasks.tracking.kalman import Belief, BoolArray, FloatArray, IntArray, Motion


class Clip(NamedTuple):
    """One sequence as the flow sees it."""

    o: FloatArray
    """(T, K, D) detections; D = 4: centre x and y, log width and height."""
    mask: BoolArray
    """(T, K): which detections there are; the others are not read."""
    size: FloatArray
    """(T, K, D): standard deviation of a detection is noise * size."""
    log_clutter: float
    """Log density of clutter."""


@dataclass(frozen=True)
class Settings:
    """What the flow believes of detections.

    Attributes
    ----------
    noise : float
        Standard deviation of a detection, in its size.
    clutter_weight : float
        Prior share of clutter.
    motion_scale : float
        Factor on both noises of the linear prior: below 1 for calm clips.
    patience : int
        A tracklet ends after so many frames without detection.
    margin, gate : float
        Log odds by which a match must beat its rivals, and the least log density (in units of
        the noise) that a match may have.
    hide, show : float
        Probability a frame that a visible object is hidden, and that a hidden one shows again.
    fan_out : int
        Links kept a tracklet, to targets worth something, and as many to the others.
    hope : float
        A link is kept if its log odds, plus what its target is worth, are above minus this.
    """

    noise: float = 0.04
    clutter_weight: float = 0.1
    motion_scale: float = 1.0
    patience: int = 6
    margin: float = 6.0
    gate: float = -14.0
    hide: float = 1 / 60
    show: float = 1 / 30
    fan_out: int = 40
    hope: float = 8.0


@dataclass
class Tracklet:
    """A run of detections that belong together."""

    frames: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    fit: float = 0.0
    """Log density of the detections after the first."""


def tracklets(clip: Clip, motion: Motion, settings: Settings) -> list[Tracklet]:
    """Join detections frame by frame where nothing else could be meant."""
    variance = (settings.noise * clip.size) ** 2
    runs: list[Tracklet] = []
    live = _Live(clip.o.shape[-1])
    for t, present in enumerate(clip.mask):
        slots = np.flatnonzero(present)
        match, blocked = live.match(t, clip.o[t, slots], variance[t, slots], motion, settings)
        rows = np.flatnonzero(match >= 0)
        taken = slots[match[rows]]
        fit = live.learn(t, rows, clip.o[t, taken], variance[t, taken], motion)
        for run, slot, value in zip(live.runs[rows], taken, fit, strict=True):
            runs[run].frames.append(t)
            runs[run].slots.append(int(slot))
            runs[run].fit += float(value)
        live.end((t - live.last >= settings.patience) | blocked)
        fresh = np.setdiff1d(slots, taken)
        scale = object_scale(clip.size[t, fresh])
        first = motion.begin(clip.o[t, fresh], variance[t, fresh], scale)
        live.begin(t, first, scale, len(runs) + np.arange(len(fresh)))
        runs += [Tracklet([t], [int(slot)]) for slot in fresh]
    return runs


def object_scale(size: FloatArray) -> FloatArray:
    """Unit of motion of objects seen with ``size`` (A, D): their height for both positions."""
    scale = np.ones_like(size)
    scale[:, :2] = size[:, 1:2]
    return scale


class _Live:
    """The tracklets that may still go on: states, frame last seen, unit, and index of the run."""

    def __init__(self, dim: int) -> None:
        self.beliefs, self.scale = Belief.empty(dim), np.zeros((0, dim))
        self.last, self.runs = np.zeros((2, 0), np.int64)

    def match(
        self, t: int, o: FloatArray, variance: FloatArray, motion: Motion, settings: Settings
    ) -> tuple[IntArray, BoolArray]:
        """Return each tracklet's detection or -1 (A), and which tracklets met an ambiguity (A)."""
        if not len(self.last) or not len(o):
            return np.full(len(self.last), -1), np.zeros(len(self.last), bool)
        ahead = motion.predict(self.beliefs, t - self.last, self.scale)
        total = ahead.ss[:, None] + variance
        error = (o - ahead.s[:, None]) ** 2 / total
        unit = (settings.noise * self.scale[:, None]) ** 2
        score = -0.5 * (error + np.log(total / unit)).sum(-1)
        best, rows = score.argmax(1), np.arange(len(score))
        top = score[rows, best]
        near = top > settings.gate
        clear = score.argmax(0)[best] == rows
        clear &= top - _second(score) > settings.margin
        clear &= top - _second(score.T)[best] > settings.margin
        return np.where(near & clear, best, -1), near & ~clear

    def learn(
        self, t: int, rows: IntArray, o: FloatArray, variance: FloatArray, motion: Motion
    ) -> FloatArray:
        """Give ``rows`` a detection each; return its log density."""
        ahead = motion.predict(self.beliefs.take(rows), t - self.last[rows], self.scale[rows])
        known, fit = ahead.learn(o, variance)
        self.beliefs.put(rows, known)
        self.last[rows] = t
        return fit

    def end(self, ended: BoolArray) -> None:
        """Forget tracklets."""
        self.beliefs = self.beliefs.take(np.flatnonzero(~ended))
        self.last, self.runs = self.last[~ended], self.runs[~ended]
        self.scale = self.scale[~ended]

    def begin(self, t: int, beliefs: Belief, scale: FloatArray, runs: IntArray) -> None:
        """Add tracklets that are first seen at t."""
        self.beliefs = self.beliefs.join(beliefs)
        self.last = np.concatenate([self.last, np.full(len(runs), t)])
        self.runs = np.concatenate([self.runs, runs])
        self.scale = np.concatenate([self.scale, scale])


def _second(score: FloatArray) -> FloatArray:
    """Second highest value of each row, -inf where there is one column."""
    if score.shape[1] < 2:
        return np.full(len(score), -np.inf)
    return np.partition(score, -2, axis=1)[:, -2]
