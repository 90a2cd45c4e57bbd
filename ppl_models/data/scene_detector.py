r"""A detector of people, simulated: what it misses, how its boxes err, its scores, its clutter.

Errors of a box have a part that lasts (Ornstein-Uhlenbeck) and one that does not, both as shares of
the box, and constant ones: of each person, and of width and height of a whole scene. Clutter is
Poisson in number; a part of it stays in its place in the world, for a time, with a box and a
typical score of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ppl_models.data.motchallenge import Boxes
from ppl_models.data.scene_people import People, View
from ppl_models.data.trajectories import ornstein_uhlenbeck

FloatArray = NDArray[np.float64]
LEAST_VISIBLE, WELL_VISIBLE = 0.2, 0.5
"""Shares of a box in view: below the first it is never detected, from the second on as ever."""
CLUTTER_FOUND = 0.8
"""Share of its frames in which clutter that stays is detected."""


@dataclass(frozen=True)
class DetectorLaw:
    """Constants of a simulated detector.

    Attributes
    ----------
    detection : float
        Probability that somebody who is well visible is detected in a frame.
    lapses, lapse : float
        Stretches a second in which somebody is not detected though in view, and their mean seconds.
    noise, lasting_noise : float
        Standard deviations of a box's errors, in boxes: from frame to frame, and lasting.
    noise_seconds : float
        Time constant of the lasting ones.
    bias, scene_bias : float, (float, float)
        Standard deviations of what detector and truth always disagree by, as shares of the box: of
        each coordinate, one a person; of log width and of log height, one a scene.
    clutter : float
        Expected boxes a frame that are of nobody.
    clutter_lasting, clutter_seconds : float
        Share of these that stay in their place, and their mean seconds.
    object_score, clutter_score : (float, float)
        Beta laws of the scores.
    """

    detection: float = 0.95
    lapses: float = 0.05
    lapse: float = 0.6
    noise: float = 0.015
    lasting_noise: float = 0.03
    noise_seconds: float = 0.4
    bias: float = 0.03
    scene_bias: tuple[float, float] = (0.03, 0.02)
    clutter: float = 1.0
    clutter_lasting: float = 0.6
    clutter_seconds: float = 1.0
    object_score: tuple[float, float] = (6.0, 1.5)
    clutter_score: tuple[float, float] = (1.5, 3.5)


class _Rows(NamedTuple):
    """Detections in any order: frame (R,), source (R,), box (R, 4), score (R,)."""

    frame: NDArray[np.int64]
    source: NDArray[np.int64]
    box: FloatArray
    score: FloatArray


def detect(
    rng: np.random.Generator, view: View, people: People, law: DetectorLaw
) -> tuple[Boxes, NDArray[np.int64]]:
    """Draw detections of people, and clutter; return them, and whose they are (R,).

    Ids of people are their rows, from 1; -1 stands for clutter.
    """
    parts = [_of_people(rng, view, people, law)]
    parts += [_fleeting_clutter(rng, view, law), _lasting_clutter(rng, view, law)]
    frame = np.concatenate([part.frame for part in parts])
    order = rng.permutation(len(frame))
    order = order[np.argsort(frame[order], kind="stable")]
    source = np.concatenate([part.source for part in parts])[order]
    box = np.concatenate([part.box for part in parts])[order]
    score = np.concatenate([part.score for part in parts])[order]
    return as_boxes(frame[order], np.full(len(order), -1), box, score, "detections"), source


def as_boxes(
    frame: NDArray[np.int64],
    ids: NDArray[np.int64],
    box: FloatArray,
    score: FloatArray,
    name: str,
) -> Boxes:
    """Make `Boxes` of frames from 0, and boxes (R, 4) as centre and size."""
    ltwh = np.concatenate([box[:, :2] - box[:, 2:] / 2, box[:, 2:]], -1)
    return Boxes(frame + 1, ids, ltwh, score, name)


def _of_people(rng: np.random.Generator, view: View, people: People, law: DetectorLaw) -> _Rows:
    num, length = people.present.shape
    share = (people.visibility - LEAST_VISIBLE) / (WELL_VISIBLE - LEAST_VISIBLE)
    found = rng.random((num, length)) < law.detection * np.clip(share, 0, 1)
    found &= people.present & ~_lapsed(rng, num, view, law)
    n, t = np.nonzero(found)
    error = law.noise * rng.standard_normal((len(n), 4))
    if num:
        rate = np.full((num, 1), view.fps)
        seconds = law.noise_seconds, law.noise_seconds
        paths = [ornstein_uhlenbeck(rng, rate, length, law.lasting_noise, seconds) for _ in "xywh"]
        error += np.stack(paths, -1)[n, t]
    error[:, 2:] += np.asarray(law.scene_bias) * rng.standard_normal(2)
    error += law.bias * rng.standard_normal((num, 4))[n]
    score = rng.beta(*law.object_score, len(n))
    return _Rows(t, n + 1, _shifted(people.boxes[n, t], error), score)


def _lapsed(rng: np.random.Generator, num: int, view: View, law: DetectorLaw) -> NDArray[np.bool_]:
    """Draw in which frames (P, T) somebody is passed over: a chain of two states."""
    begin, end = law.lapses / view.fps, min(1.0, 1 / (law.lapse * view.fps))
    state = rng.random(num) < begin / max(begin + end, 1e-12)
    states = np.zeros((num, view.length), bool)
    for t in range(view.length):
        states[:, t] = state
        state = state ^ (rng.random(num) < np.where(state, end, begin))
    return states


def _fleeting_clutter(rng: np.random.Generator, view: View, law: DetectorLaw) -> _Rows:
    counts = rng.poisson(law.clutter * (1 - law.clutter_lasting), view.length)
    frame = np.repeat(np.arange(view.length), counts)
    box = _anywhere(rng, view, len(frame))
    return _Rows(frame, np.full(len(frame), -1), box, rng.beta(*law.clutter_score, len(frame)))


def _lasting_clutter(rng: np.random.Generator, view: View, law: DetectorLaw) -> _Rows:
    """Things that look like people for a while; in stationary numbers from the first frame on."""
    at_once = law.clutter * law.clutter_lasting / CLUTTER_FOUND
    mean = max(law.clutter_seconds * view.fps, 1.0)  # frames
    starts = rng.poisson(at_once / mean, view.length)
    starts[0] = rng.poisson(at_once)
    begin = np.repeat(np.arange(view.length), starts)
    end = np.minimum(begin + rng.geometric(1 / mean, len(begin)), view.length)
    thing = np.repeat(np.arange(len(begin)), end - begin)
    ages = np.arange(len(thing)) - np.repeat(np.cumsum(end - begin) - (end - begin), end - begin)
    frame = begin[thing] + ages
    place = view.at_rest(_anywhere(rng, view, len(begin)), begin)
    box = view.seen(place[thing], frame)
    inside = ((box[:, :2] >= 0) & (box[:, :2] <= view.image)).all(-1)
    found = inside & (rng.random(len(frame)) < CLUTTER_FOUND)
    frame, box, thing = frame[found], box[found], thing[found]
    box = _shifted(box, law.noise * rng.standard_normal((len(frame), 4)))
    typical = rng.beta(*law.clutter_score, len(begin))[thing]
    near = rng.beta(*law.clutter_score, len(frame))
    score = np.where(rng.random(len(frame)) < 0.5, typical, near)  # partly of the thing itself
    return _Rows(frame, np.full(len(frame), -1), box, score)


def _anywhere(rng: np.random.Generator, view: View, num: int) -> FloatArray:
    """Draw boxes (num, 4), of people's sizes, uniform over the image."""
    depth = np.sqrt(rng.uniform(view.near**2, view.far**2, num))
    tall = view.focal / depth * np.exp(0.3 * rng.standard_normal(num))
    wide = 0.4 * tall * np.exp(0.25 * rng.standard_normal(num))
    place = rng.uniform(0, 1, (num, 2)) * view.image
    return np.concatenate([place, np.stack([wide, tall], -1)], -1)


def _shifted(box: FloatArray, error: FloatArray) -> FloatArray:
    """Return boxes (R, 4) with errors in boxes: of the centre, and of log sizes."""
    size = box[:, 2:]
    return np.concatenate([box[:, :2] + size * error[:, :2], size * np.exp(error[:, 2:])], -1)
