"""Frames a second, where nobody says: those at which the boxes move as objects do.

The law of motion is in seconds. Tracklets that hold at any rate are scored by the density of each
detection given those before, at one rate after the other. A crowd that stands still looks like film
of a high rate, which is why rates end where films usually are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from inference.tasks.tracking.kalman import IntArray
from inference.tasks.tracking.whole.law import MotionLaw
from inference.tasks.tracking.whole.matching import Matching, tracklets
from inference.tasks.tracking.whole.video import Video, units_of

RATES = tuple(2.5 * 2 ** (i / 2) for i in range(8))
"""Frames a second that are tried: 2.5 to 28."""
USUAL = 25.0
"""Where nothing is seen for long enough to say."""
FIRST, WAIT = 3.0, 0.4
"""Frames a second at which the tracklets are made, a low one: at a high one they would lose what is
fast, and bear the high rate out. And their patience, in seconds."""
LEAST, MOST, STEPS = 5, 400, 60
"""Detections of a tracklet that is scored, tracklets, and detections of each."""


def infer_rate(video: Video, law: MotionLaw, how: Matching) -> float:
    """Return the rate of `RATES` that predicts best; `USUAL` where there is no tracklet."""
    at_first = video.at_rate(FIRST)
    nowhere = np.full(len(video.rows.frame), video.log_anywhere)
    careful = replace(law, outliers=0.03)
    runs = tracklets(at_first, careful, nowhere, how, detected=0.5, wait=WAIT)
    runs = [run[:STEPS] for run in runs if len(run) >= LEAST][:MOST]
    if not runs:
        return USUAL
    return max(RATES, key=lambda rate: log_density(video.at_rate(rate), runs, law))


def log_density(video: Video, runs: list[IntArray], law: MotionLaw) -> float:
    """Log density of all detections of runs, each given those before in its run."""
    count = np.array([len(run) for run in runs])
    flat, offset = np.concatenate(runs), np.cumsum(count) - count
    frame, o, units = video.rows.frame[flat], video.rows.o[flat], video.rows.unit[flat]
    unit = units_of(video, runs)
    belief, total = law.begin(o[offset], units[offset]), 0.0
    for step in range(1, int(count.max())):
        who = np.flatnonzero(count > step)
        at = offset[who] + step
        seconds = (frame[at] - frame[at - 1]) / video.rate
        ahead = law.carry(belief.take(who), seconds, unit[who])
        variance = ahead.ss + law.variance(units[at])
        total += float(law.log_density(o[at] - ahead.s, variance, unit[who]).sum())
        belief.put(who, law.learn(ahead, o[at], unit[who]))
    return total
