"""Lives of objects: when each is there, seen or hidden, by forward and backward passes.

The chain of states is `ppl_models.mot.Life`: born, seen or hidden, gone. Evidence of a frame with a
detection of the object's is how much likelier that is than clutter; of a frame without one, that a
detection was missed, unless the object is hidden. It is hidden more often where its box is behind
another object's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from inference.tasks.tracking.batch import to_ltwh
from inference.tasks.tracking.kalman import BoolArray, FloatArray, IntArray
from inference.tasks.tracking.whole.law import MotionLaw
from inference.tasks.tracking.whole.occlusion import LEVEL
from inference.tasks.tracking.whole.video import Video
from ppl_models.mot import HIDDEN, SEEN, Life, infer_lives

CONVINCED = 6.0
"""Log odds that a detection adds at most: its errors last, and are no sign of many objects."""
OUTSIDE = -3.0
"""Log odds of being there, of a box whose centre is outside the image."""
SLOTS = 1.02
"""Slots an object, of which each is one."""


@dataclass(frozen=True)
class LifeLaw:
    """Constants of lives, in seconds: means of exponential laws.

    Attributes
    ----------
    life : float
        From birth to end.
    seen, seen_behind : float
        Until one is hidden, where nothing is before the box, and where all of it is covered.
    hidden : float
        Until one is seen again.
    beyond : float
        Log odds, a frame, of being there before the first detection or after the last: a chain ends
        where what would go on with it is likelier clutter.
    """

    life: float = 10.0
    seen: float = 3.0
    seen_behind: float = 0.1
    hidden: float = 0.5
    beyond: float = -3.0

    def per_frame(self, rate: float, objects: int, length: int, detected: float) -> Life:
        """Return the chain at so many frames a second, for as many objects as were found."""
        seconds = length / rate
        used = objects / (self.life + seconds)
        return Life(
            births=used / rate,
            alive=used * self.life,
            death=_chance(self.life, rate),
            hide=_chance(self.seen, rate),
            hide_behind=_chance(self.seen_behind, rate),
            show=_chance(self.hidden, rate),
            detection=detected,
        )


class Presence(NamedTuple):
    """Of N objects in T frames."""

    present: FloatArray
    """(N, T): probability to be there, seen or hidden."""
    seen: FloatArray
    """(N, T)"""

    def given(self, exists: FloatArray) -> Presence:
        """Return the same of objects that exist with probabilities (N)."""
        return Presence(self.present * exists[:, None], self.seen * exists[:, None])


def presence(
    video: Video,
    chains: list[IntArray],
    boxes: tuple[FloatArray, FloatArray],
    image: FloatArray,
    odds: FloatArray,
    motion: MotionLaw,
    law: LifeLaw,
    detected: float,
) -> Presence:
    """Return when each object is there, given its detections.

    Parameters
    ----------
    video : Video
    chains : list of IntArray
        The rows of each object's detections.
    boxes : (mean, variance)
        (N, T, 4) each: `smooth`.
    image : FloatArray
        (N, T, 4): the means as they are in the image, if the camera moves.
    odds : FloatArray
        (R): log odds of a detection to be an object's, by its score.
    motion : MotionLaw
    law : LifeLaw
    detected : float
        Probability that an object that is seen gives a detection.
    """
    count, length = len(chains), video.length
    if not count:
        return Presence(*np.zeros((2, 0, length)))
    evidence = np.zeros((count, length, 4))
    evidence[..., SEEN] = math.log(1 - detected)
    evidence[..., SEEN : HIDDEN + 1] += OUTSIDE * _outside(video, image)[..., None]
    there = np.zeros((count, length), bool)
    for n, chain in enumerate(chains):
        frame = video.rows.frame[chain]
        worth = _worth(video, chain, boxes[0][n, frame], boxes[1][n, frame], motion) + odds[chain]
        evidence[n, frame, SEEN] = math.log(detected) + worth.clip(-CONVINCED, CONVINCED)
        evidence[n, frame, HIDDEN] = math.log(1e-3)
        there[n, frame[0] : frame[-1] + 1] = True
    evidence[..., SEEN : HIDDEN + 1] += law.beyond * ~there[..., None]
    life = law.per_frame(video.rate, count, length, detected)
    slots = max(count + 1, round(SLOTS * count))
    behind = torch.as_tensor(behind_others(image, there))
    initial = life.initial(slots).double()
    lives = infer_lives(
        initial, life.transition(slots, length, behind=behind), torch.as_tensor(evidence)
    )
    return Presence(lives.present.numpy(), lives.seen.numpy())


def behind_others(mean: FloatArray, there: BoolArray) -> FloatArray:
    """Return the largest share of boxes (N, T, 4) behind one that is ``there`` (N, T)."""
    ltwh = to_ltwh(mean)
    low, high = ltwh[..., :2], ltwh[..., :2] + ltwh[..., 2:]
    area, bottom = ltwh[..., 2:].prod(-1), high[..., 1]
    behind = np.zeros(there.shape)
    for t in range(there.shape[1]):
        who = np.flatnonzero(there[:, t])
        if not len(who):
            continue
        start = np.maximum(low[:, None, t], low[None, who, t])
        end = np.minimum(high[:, None, t], high[None, who, t])
        share = (end - start).clip(min=0).prod(-1) / area[:, t, None]
        nearer = bottom[who, t] > (bottom[:, t] - LEVEL * ltwh[:, t, 3])[:, None]
        share[who, np.arange(len(who))] = 0.0  # oneself
        behind[:, t] = (share * nearer).max(1)
    return behind.clip(0.0, 1.0)


def _worth(
    video: Video, rows: IntArray, mean: FloatArray, variance: FloatArray, motion: MotionLaw
) -> FloatArray:
    """Log density of detections where the object is, against anywhere."""
    o, unit = video.rows.o[rows], video.rows.unit[rows]
    density = motion.log_density(o - mean, variance + motion.variance(unit), unit)
    worth: FloatArray = density.sum(-1) - video.log_anywhere
    return worth


def _outside(video: Video, mean: FloatArray) -> BoolArray:
    centre = mean[..., :2]
    outside = (centre < 0) | (centre > np.asarray(video.image_size))
    return np.asarray(outside.any(-1))


def _chance(seconds: float, rate: float) -> float:
    """Probability of an event a frame, that comes after so many seconds on average."""
    return 1 - math.exp(-1 / (seconds * rate))
