"""Evidence of lives: how likely it is to be seen again after so many frames, or never.

The chain of `ppl_models.mot.Life`, seen or hidden or gone, summed exactly over states between two
detections, and after the last. A detection says that the object is seen, so that the life of a
chain is a product: of each pair of neighbouring detections, and of its end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from inference.tasks.tracking.kalman import FloatArray, IntArray
from ppl_models.mot import Life


class _Chances(NamedTuple):
    hide: FloatArray
    show: FloatArray
    on: float
    missed: float

    @classmethod
    def of(cls, life: Life, behind: FloatArray) -> _Chances:
        hide = life.hide + (life.hide_behind - life.hide) * behind
        show = life.show * (1 - hide) / max(1 - life.hide, 1e-9)
        return cls(hide, show, 1 - life.death, 1 - life.detection)

    def ahead(self, seen: FloatArray, hidden: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the chances of both states in the next frame, whether detected or not."""
        return (
            self.on * (seen * (1 - self.hide) + hidden * self.show),
            self.on * (seen * self.hide + hidden * (1 - self.show)),
        )


def log_again(life: Life, frames: IntArray, behind: FloatArray) -> FloatArray:
    """Return log p(next detection so many frames (A) later, none before | detected).

    ``behind`` (A): the share of the box that is behind others, in all of these frames.
    """
    order = np.argsort(-frames, kind="stable")
    left, chances = frames[order], _Chances.of(life, behind[order])
    seen, hidden = np.ones(len(left)), np.zeros(len(left))
    scale, found = np.zeros(len(left)), np.zeros(len(left))
    for step in range(1, int(left.max(initial=0)) + 1):
        active = int(np.searchsorted(-left, -step, side="right"))
        head = slice(active)
        part = chances._replace(hide=chances.hide[head], show=chances.show[head])
        seen, hidden = part.ahead(seen[head], hidden[head])
        found[head] = scale[head] + np.log(seen * life.detection)
        seen = seen * part.missed
        total = seen + hidden
        seen, hidden = seen / total, hidden / total
        scale[head] += np.log(total)
    again = np.empty(len(left))
    again[order] = found
    return again


def log_never(life: Life, most: int, behind: FloatArray) -> FloatArray:
    """Return log p(no detection in the next m frames | detected), (B, most + 1) for m = 0, ...

    ``behind`` (B): the share of the box that is behind others, in all of these frames.
    """
    chances = _Chances.of(life, behind)
    hide, show, on = chances.hide, chances.show, chances.on
    seen, hidden = np.ones((2, len(behind)))
    found = np.zeros((len(behind), most + 1))
    for m in range(1, most + 1):
        missed = chances.missed * seen
        seen, hidden = (
            life.death + on * ((1 - hide) * missed + hide * hidden),
            life.death + on * (show * missed + (1 - show) * hidden),
        )
        found[:, m] = np.log(seen)
    return found
