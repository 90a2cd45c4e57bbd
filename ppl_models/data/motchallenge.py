"""MOTChallenge text: one box a line, ``frame, id, left, top, width, height, score, ...``.

Frames count from 1, boxes are in pixels and may be fractions or reach out of the image. Detections
carry the id -1; ground truth carries the flag 1 in place of the score (0: not to be counted).

Text is plain or compressed (gzip, bzip2, xz), its cells separated by commas or blanks; see
`ppl_models.data.tables` for what may stand between rows.

Source: A. Milan et al., "MOT16: A benchmark for multi-object tracking", arXiv:1603.00831, sec. 4.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ppl_models.data.files import write_whole
from ppl_models.data.tables import Table, read_table
from ppl_models.errors import InputError

FloatArray = NDArray[np.float64]
SMALLEST, LARGEST = 1e-3, 1e6
"""Pixels: of a width or height; the larger one also of how far a box may lie from the origin."""
MOST_PLACES = 10_000_000
"""Frames times the most boxes in one of them, of a dense array: 320 MB."""
COLUMNS = "7 to 10 numbers a line: frame, id, left, top, width, height, score[, x, y, z]"


@dataclass(frozen=True)
class Boxes:
    """Rows of one file, sorted by frame: R boxes.

    Attributes
    ----------
    frame, id : (R,) int
        Frames from 1; id -1 where none is known.
    ltwh : (R, 4) float
        Left, top, width, height, in pixels.
    score : (R,) float
        Confidence of a detection, or the flag of a ground-truth row.
    name : str
        Where the rows came from, for messages.

    Raises
    ------
    InputError
        Where the arrays do not have one row a box.
    """

    frame: NDArray[np.int64]
    id: NDArray[np.int64]
    ltwh: FloatArray
    score: FloatArray
    name: str = "boxes"

    def __post_init__(self) -> None:
        shapes = [np.shape(part) for part in (self.frame, self.id, self.ltwh, self.score)]
        rows = shapes[0][:1]
        if shapes != [rows, rows, (*rows, 4), rows] or not rows:
            expected = "frame (R,), id (R,), ltwh (R, 4), score (R,)"
            raise InputError(self.name, f"shapes {shapes}", expected, "one row a box")
        if (np.diff(self.frame) < 0).any():
            order = np.argsort(self.frame, kind="stable")
            for part in ("frame", "id", "ltwh", "score"):
                object.__setattr__(self, part, getattr(self, part)[order])

    def __len__(self) -> int:
        return len(self.frame)

    @classmethod
    def from_padded(cls, ltwh: FloatArray, first: int = 1, name: str = "boxes") -> Boxes:
        """Make detections of ``ltwh`` (T, K, 4), NaN where there is none; frames from ``first``."""
        frame, slot = np.nonzero(~np.isnan(ltwh[..., 0]))
        unknown = np.full(len(frame), -1)
        return cls(frame + first, unknown, ltwh[frame, slot], unknown.astype(float), name)

    def select(self, keep: NDArray[np.bool_]) -> Boxes:
        """Return the rows where ``keep`` (R,) holds."""
        return Boxes(self.frame[keep], self.id[keep], self.ltwh[keep], self.score[keep], self.name)

    def between(self, first: int, last: int) -> Boxes:
        """Return the rows of the frames ``first`` to ``last``, both included."""
        return self.select((self.frame >= first) & (self.frame <= last))

    def confident(self, least: float = 0.3) -> Boxes:
        """Drop detections scored below ``least``, where scores are probabilities.

        Files without scores (all -1, or all 0) and files scored on another scale keep all rows.
        """
        informative = len(self) > 0 and self.score.min() >= 0 and 0 < self.score.max() <= 1
        return self.select(self.score >= least) if informative else self

    def padded(self, first: int, last: int) -> FloatArray:
        """Return boxes (T, K, 4) of the frames ``first`` to ``last``, NaN where there is none.

        K is the largest number of boxes in one of these frames, and at least 1.

        Raises
        ------
        InputError
            The last frame is before the first, or T times K is above `MOST_PLACES`.
        """
        if last < first:
            cure = "give the first frame first"
            raise InputError("last", f"{last}, before frame {first}", f"{first} or more", cure)
        rows = self.between(first, last)
        t = rows.frame - first
        counts = np.bincount(t, minlength=last - first + 1)
        k = np.arange(len(t)) - np.repeat(np.cumsum(counts) - counts, counts)
        widest = max(1, int(counts.max()))
        if len(counts) * widest > MOST_PLACES:
            found = f"{len(counts):,} frames, with up to {widest:,} boxes in one of them"
            expected = f"frames times most boxes up to {MOST_PLACES:,} (motchallenge.MOST_PLACES)"
            cure = f"mend frame {first + int(counts.argmax())}, take fewer frames, or raise that"
            raise InputError(self.name, found, expected, cure)
        boxes = np.full((len(counts), widest, 4), np.nan)
        boxes[t, k] = rows.ltwh
        return boxes


def read_boxes(path: str | os.PathLike[str], *, empty: bool = False) -> Boxes:
    """Read a MOTChallenge file of detections, tracks or ground truth, its rows in any order.

    A header line is passed over, exact duplicate rows count once. Compressed files are told by
    their first bytes, not by their names.

    Parameters
    ----------
    path
    empty
        Whether a file without rows is as good as any: of a video in which nothing was detected.

    Raises
    ------
    InputError
        Where the file is missing, not of this form, or (unless ``empty``) without rows; NaN or
        infinite values, sizes that are not positive, frames below 1, frames or ids that are not
        whole numbers. The message names file and line.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "a device or a pipe"
        found = found if path.exists() else "no such file"
        raise InputError(str(path), found, "a MOTChallenge text file", "check the path")
    try:
        table = read_table(path, range(7, 11), COLUMNS)
    except PermissionError:
        cure = f"chmod u+r '{path}'"
        raise InputError(str(path), "no permission to read it", "a readable file", cure) from None
    if not table.numbers.size and not empty:
        raise InputError(str(path), "no rows", COLUMNS, "check that the detector wrote the file")
    if not table.numbers.size:
        none = np.zeros(0, np.int64)
        return Boxes(none, none, np.zeros((0, 4)), np.zeros(0), str(path))
    _check_rows(table, path)
    rows = _unique(table.numbers)
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    frame, ids = rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64)
    return Boxes(frame, ids, rows[:, 2:6].copy(), rows[:, 6].copy(), str(path))


def read_ground_truth(path: str | os.PathLike[str]) -> Boxes:
    """Read ground truth: the rows flagged to be counted (flag not 0), each with an id.

    Raises
    ------
    InputError
        As `read_boxes`; also where a row has no id, or an id stands twice in a frame.
    """
    truth = read_boxes(path)
    truth = truth.select(truth.score != 0)
    if not len(truth) or (truth.id < 0).any():
        raise InputError(
            str(path),
            "rows without an id" if len(truth) else "no row with flag 1",
            "ground truth: an id and the flag 1 in each row that counts",
            "pass the file gt.txt, not det.txt",
        )
    pairs = np.stack([truth.frame, truth.id], 1)
    if len(np.unique(pairs, axis=0)) < len(pairs):
        raise InputError(
            str(path), "an id twice in one frame", "one box an id and frame", "mend the file"
        )
    return truth


def write_tracks(path: str | os.PathLike[str], tracks: FloatArray, first: int = 1) -> None:
    """Write tracks (N, T, 4) from frame ``first`` on, ids from 1, whole or not at all.

    A row reads ``frame, id, left, top, width, height, 1, -1, -1, -1``, sorted by frame, then id.
    """
    if not np.isfinite(tracks).all():
        raise InputError("tracks", "NaN or infinity", "finite boxes (N, T, 4)", "mend the tracks")
    boxes = np.round(np.moveaxis(tracks, 1, 0), 3)
    boxes[..., 2:] = np.maximum(boxes[..., 2:], 0.001)  # what was positive reads back as positive
    lines = [
        f"{first + t},{n + 1},{left:.3f},{top:.3f},{width:.3f},{height:.3f},1,-1,-1,-1\n"
        for t, frame in enumerate(boxes.tolist())
        for n, (left, top, width, height) in enumerate(frame)
    ]
    write_whole(path, "".join(lines).encode())


def _check_rows(table: Table, path: Path) -> None:
    rows = table.numbers
    whole = rows[:, :2] == np.floor(rows[:, :2])
    edges, sizes = np.abs(rows[:, 2:4]), rows[:, 4:6]
    rules = (
        (np.isfinite(rows[:, :7]).all(1), "NaN or infinity", "finite numbers"),
        (
            whole[:, 0] & (rows[:, 0] >= 1) & (rows[:, 0] < 2**31),
            "the frame",
            "whole frame numbers from 1",
        ),
        (whole[:, 1] & (np.abs(rows[:, 1]) < 2**53), "the id", "a whole number, -1 for none"),
        ((sizes > 0).all(1), "width or height", "positive width and height"),
        (
            ((sizes >= SMALLEST) & (sizes <= LARGEST)).all(1),
            "width or height",
            f"{SMALLEST:g} to {LARGEST:,.0f} pixels",
        ),
        ((edges <= LARGEST).all(1), "left or top", f"-{LARGEST:,.0f} to {LARGEST:,.0f} pixels"),
    )
    for good, what, expected in rules:
        if not good.all():
            number, line = table.line(int(np.argmin(good)))
            found = f"{what} in '{line[:80]}' ({int((~good).sum())} such rows)"
            raise InputError(f"{path}, line {number}", found, expected, "mend or drop these rows")


def _unique(table: FloatArray) -> FloatArray:
    """Drop rows that repeat an earlier one, keeping the order."""
    rows = _repeats(table, np.arange(len(table)), [0, 2])  # cheap, and leaves few to compare whole
    last = _repeats(table, rows, list(range(7)), later=True)
    return np.delete(table, last, axis=0) if len(last) else table


def _repeats(
    table: FloatArray, rows: NDArray[np.int64], columns: list[int], later: bool = False
) -> NDArray[np.int64]:
    """Return those of ``rows``, rising, that agree in ``columns``; ``later``: but the first."""
    values = table[rows][:, columns]
    order = np.lexsort(values.T)  # stable: of equal rows the earliest comes first
    values = values[order]
    same = np.zeros(len(order) + 1, bool)
    same[1:-1] = (values[1:] == values[:-1]).all(1)
    return np.sort(rows[order[same[:-1] if later else same[:-1] | same[1:]]])
