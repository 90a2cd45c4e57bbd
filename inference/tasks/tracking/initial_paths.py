r"""Where to start: N paths through the detections, one detection a path and frame, by network flow.

Coordinate ascent finds the nearest optimum, so the start decides. This one looks at the whole clip:

1. *Tracklets* (`tracklets`): runs of detections that a Kalman filter of the linear prior joins
   beyond doubt (each the other's best by a margin; frames may be missed, ambiguous detections
   start new ones).
2. *Links* (`linking`): log p(b | a) / p(b) for each tracklet b that begins after a ends, with
   position and velocity carried over the gap, and the odds of being unseen that long (a chain of
   two states, visible and hidden).
3. *Flow* (`min_cost_flow`): the N disjoint chains of tracklets that together have the highest log
odds
   against clutter.

In the model each of the N objects is present in every frame, so a path may have its first
detection at any frame; where more than N detections stand in the first frames, the flow decides,
by the whole clip, which of them are the objects. Paths are numbered by their first detection's
frame, then from left to right.

References: L. Zhang, Y. Li, R. Nevatia, "Global data association for multi-object tracking using
network flows", CVPR 2008; the linear prior is `ppl_models.linear_motion.LinearMotion`.
"""

from __future__ import annotations

import numpy as np

from inference.tasks.tracking.kalman import FloatArray, Motion
from inference.tasks.tracking.linking import best_chains
from inference.tasks.tracking.tracklets import Clip, Settings, Tracklet, tracklets
from ppl_models.linear_motion import LinearMotion

__all__ = ["Clip", "Settings", "start_paths"]


def start_paths(clip: Clip, objects: int, prior: LinearMotion, settings: Settings) -> FloatArray:
    """Return N starting paths (N, T, D): straight lines between the detections of each chain.

    Paths that no chain is left for (fewer tracklets than objects) stand by the middle of all
    detections, half a typical size apart from it and each other: equal paths would stay equal.
    """
    length = len(clip.o)
    motion = Motion(prior, length, settings.motion_scale)
    runs = tracklets(clip, motion, settings)
    chains = best_chains(clip, runs, objects, motion, settings)
    paths = [_join(clip, [runs[i] for i in chain], length) for chain in chains]
    order = sorted(range(len(chains)), key=lambda i: (runs[chains[i][0]].frames[0], paths[i][0, 0]))
    return np.stack([paths[i] for i in order] + _spare_paths(clip, objects - len(paths)))


def _join(clip: Clip, runs: list[Tracklet], length: int) -> FloatArray:
    """Return one path (T, D): straight between detections, held before and after them."""
    frames = [t for run in runs for t in run.frames]
    slots = [k for run in runs for k in run.slots]
    seen = clip.o[frames, slots]
    return np.stack([np.interp(np.arange(length), frames, x) for x in seen.T], -1)


def _spare_paths(clip: Clip, count: int) -> list[FloatArray]:
    """Paths for objects that no detection is left for: still, by the middle of everything."""
    if count <= 0:
        return []
    if not clip.mask.any():
        middle, size = np.zeros(clip.o.shape[-1]), np.ones(clip.o.shape[-1])
    else:
        middle, size = np.median(clip.o[clip.mask], 0), np.median(clip.size[clip.mask], 0)
    apart = np.zeros_like(middle)
    apart[0] = 0.5 * size[0]
    return [np.tile(middle + i * apart, (len(clip.o), 1)) for i in range(1, count + 1)]
