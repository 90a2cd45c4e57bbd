"""What scores say: log odds of a detection to be an object's and not clutter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from inference.tasks.tracking.kalman import FloatArray


@dataclass(frozen=True)
class ScoreLaw:
    """A line between two limits.

    Attributes
    ----------
    half : float
        The score of even odds.
    slope : float
        Log odds a unit of score.
    low, high : float
        Limits of the log odds.
    share : float
        Weight of a detection's log odds in a sum over a chain at 30 frames a second or fewer:
        scores of neighbouring frames are partly the same.
    least : float
        Log odds that a chain must have to be an object.
    """

    half: float = 0.65
    slope: float = 8.0
    low: float = -3.0
    high: float = 2.5
    share: float = 0.25
    least: float = 1.0


def score_odds(score: FloatArray, law: ScoreLaw) -> FloatArray:
    """Return log odds (R), as they add up along a chain; 0 where there is no score."""
    odds = law.share * (law.slope * (score - law.half)).clip(law.low, law.high)
    return np.where(np.isnan(odds), 0.0, odds)
