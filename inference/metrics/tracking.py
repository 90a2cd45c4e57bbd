"""How well tracks follow ground truth: CLEAR MOT and identity metrics, by way of ``motmetrics``.

>>> print(score(read_ground_truth("gt.txt"), read_boxes("tracks.txt")))
  MOTA  MOTP  IDF1  IDS   FP   FN   MT   ML  frames  objects
  52.6  72.3  55.8    7   13  150    1    1      71        8

A track's identity is the id of its rows, nothing else: labels are never matched to the truth's
before they are scored, so that two tracks which trade objects are charged for it.

Sources: K. Bernardin, R. Stiefelhagen, "Evaluating multiple object tracking performance: the CLEAR
MOT metrics", 2008 (MOTA, MOTP); E. Ristani et al., "Performance measures and a data set for
multi-target, multi-camera tracking", arXiv:1609.01775 (IDF1); MT and ML as in A. Milan et al.,
"MOT16", arXiv:1603.00831, sec. 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppl_models.data.motchallenge import Boxes
from ppl_models.errors import InputError

FloatArray = NDArray[np.float64]

LEAST_OVERLAP = 0.5
"""A box is matched to an object where their intersection over union is at least this."""

_COUNTS = {
    "frames": "num_frames",
    "objects": "num_unique_objects",
    "boxes": "num_objects",
    "track_boxes": "num_predictions",
    "matches": "num_detections",
    "id_matches": "idtp",
    "ids": "num_switches",
    "fp": "num_false_positives",
    "fn": "num_misses",
    "mt": "mostly_tracked",
    "ml": "mostly_lost",
}


@dataclass(frozen=True)
class Score:
    """Counts of one or more sequences, and the metrics that follow from them.

    Attributes
    ----------
    frames, objects, boxes : int
        Frames scored, different objects of the truth, and their boxes over all frames.
    track_boxes : int
        Boxes of the tracks over all frames.
    matches, overlap : int, float
        Boxes matched frame by frame, and the sum of their intersections over union.
    id_matches : int
        Boxes matched when each track may stand for one object only (IDTP).
    ids, fp, fn : int
        Identity switches, false positives, misses (false negatives).
    mt, ml : int
        Objects matched in at least 80 % (mostly tracked), in less than 20 % (mostly lost) of
        their frames.
    """

    frames: int
    objects: int
    boxes: int
    track_boxes: int
    matches: int
    overlap: float
    id_matches: int
    ids: int
    fp: int
    fn: int
    mt: int
    ml: int

    @property
    def mota(self) -> float:
        """Accuracy, per cent: 100 less misses, false positives and switches in 100 boxes."""
        return 100 * (1 - (self.fn + self.fp + self.ids) / self.boxes)

    @property
    def motp(self) -> float:
        """Precision, per cent: mean intersection over union of the matches; NaN without any."""
        return 100 * self.overlap / self.matches if self.matches else math.nan

    @property
    def idf1(self) -> float:
        """F1 of identities, per cent."""
        return 100 * 2 * self.id_matches / (self.boxes + self.track_boxes)

    def to_dict(self) -> dict[str, float | int | None]:
        """Return metrics and counts, ready for JSON (no match at all: MOTP is None)."""
        motp = None if math.isnan(self.motp) else self.motp
        counts = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"mota": self.mota, "motp": motp, "idf1": self.idf1} | counts

    def __add__(self, other: Score) -> Score:
        """Pool two scores: the metrics of both sets of frames, no object in common."""
        names = [field.name for field in fields(self)]
        return Score(**{name: getattr(self, name) + getattr(other, name) for name in names})

    def __str__(self) -> str:
        return table([("", self)])


def score(truth: Boxes, tracks: Boxes) -> Score:
    """Score the tracks of one sequence, over all frames in which either has a box.

    Parameters
    ----------
    truth, tracks : Boxes
        Pixels; each row's ``id`` is the object of its box. Cut both to the same frames beforehand
        (`Boxes.between`): what lies outside the other counts as missed, or as false.

    Raises
    ------
    InputError
        Where ``truth`` is empty, a row has no id, an id stands twice in a frame, or
        ``motmetrics`` is not installed.
    """
    motmetrics = require_motmetrics()
    if not len(truth):
        raise InputError(truth.name, "no ground truth", "at least one box", "check the frames")
    for boxes in (truth, tracks):
        _check_ids(boxes)
    accumulator = motmetrics.MOTAccumulator()
    with motmetrics.lap.set_default_solver("scipy"):  # not whichever happens to be installed
        for frame, objects, hypotheses, distance in _frames(truth, tracks):
            accumulator.update(objects, hypotheses, distance, frameid=frame)
        found = motmetrics.metrics.create().compute(
            accumulator, metrics=["motp", *_COUNTS.values()], return_dataframe=False
        )
    counts = {ours: int(found[theirs]) for ours, theirs in _COUNTS.items()}
    matches = counts["matches"]
    return Score(**counts, overlap=matches * (1 - float(found["motp"])) if matches else 0.0)


def score_many(pairs: Iterable[tuple[Boxes, Boxes]]) -> Score:
    """Score several sequences, pairs of (truth, tracks), as one: counts are pooled."""
    return total([score(truth, tracks) for truth, tracks in pairs])


def total(scores: Sequence[Score]) -> Score:
    """Pool the scores of several sequences."""
    if not scores:
        raise InputError("scores", "none", "one sequence or more", "score a sequence first")
    pooled = scores[0]
    for one in scores[1:]:
        pooled = pooled + one
    return pooled


def table(rows: Sequence[tuple[str, Score]]) -> str:
    """Return named scores as lines of text, a heading above."""
    head = ("MOTA", "MOTP", "IDF1", "IDS", "FP", "FN", "MT", "ML", "frames", "objects")
    widths = (6, 6, 6, 5, 5, 5, 5, 5, 8, 9)
    left = max(len(name) for name, _ in rows)
    lines = [" " * left + "".join(f"{h:>{w}}" for h, w in zip(head, widths, strict=True))]
    for name, s in rows:
        percents = [f"{value:.1f}" for value in (s.mota, s.motp, s.idf1)]
        cells = percents + [str(n) for n in (s.ids, s.fp, s.fn, s.mt, s.ml, s.frames, s.objects)]
        text = "".join(f"{c:>{w}}" for c, w in zip(cells, widths, strict=True))
        lines.append(f"{name:<{left}}{text}")
    return "\n".join(lines)


def overlaps(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection over union of boxes (N, 4) and (K, 4), left, top, width, height: (N, K)."""
    a, b = a[:, None], b[None]
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    return shared / (a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - shared)


def require_motmetrics() -> Any:
    """Import ``motmetrics``.

    Raises
    ------
    InputError
        Where it is not installed, with the command that installs it.
    """
    try:
        import motmetrics
    except ImportError as error:
        raise InputError(
            "metrics of tracks",
            f"no motmetrics here ({error})",
            "the extra [tracking]",
            "pip install 'ppl-models[tracking]'",
        ) from None
    return motmetrics


def _frames(
    truth: Boxes, tracks: Boxes
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64], FloatArray]]:
    """Yield each frame's number, objects, hypotheses, and distances, NaN for no match.

    motmetrics' own ``iou_matrix`` calls ``np.asfarray``, which NumPy 2 has no more.
    """
    frames = np.union1d(truth.frame, tracks.frame)
    ids = [np.unique(boxes.id, return_inverse=True)[1] for boxes in (truth, tracks)]
    starts = [np.searchsorted(boxes.frame, frames) for boxes in (truth, tracks)]
    ends = [np.searchsorted(boxes.frame, frames, "right") for boxes in (truth, tracks)]
    for i, frame in enumerate(frames.tolist()):
        at, to = (slice(start[i], end[i]) for start, end in zip(starts, ends, strict=True))
        distance = 1 - overlaps(truth.ltwh[at], tracks.ltwh[to])
        distance[distance > 1 - LEAST_OVERLAP] = np.nan
        yield frame, ids[0][at], ids[1][to], distance


def _check_ids(boxes: Boxes) -> None:
    if (boxes.id < 0).any():
        cure = "score tracks or ground truth, not detections"
        raise InputError(boxes.name, "rows without an id", "an id in each row", cure)
    order = np.lexsort((boxes.id, boxes.frame))
    pairs = np.stack([boxes.frame, boxes.id], 1)[order]
    again = (pairs[1:] == pairs[:-1]).all(1)
    if again.any():
        frame, identity = pairs[int(np.argmax(again))].tolist()
        found = f"id {identity} twice in frame {frame}"
        raise InputError(boxes.name, found, "one box an id and frame", "drop or renumber one")
