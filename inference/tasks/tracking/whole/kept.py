"""Windows of a long video that are done, kept in a folder: an interrupted call goes on from them.

A file holds the answer of one window, as it was before it was joined, as arrays of numbers: nothing
pickled is read. Its name has the *fingerprint* of all that decides the answer (detections, frames,
image, rate, settings), so that other detections or settings begin anew. A file that is damaged, or
is not what this program would have written, is as good as none: its window is followed again.
"""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.tasks.tracking.whole.windows import Followed, Window
from ppl_models.data import Boxes, read_numbers
from ppl_models.data.files import write_whole
from ppl_models.errors import InputError

FORMAT = 2
"""Version of the files; it is part of the fingerprint."""
NAME = re.compile(r"[0-9a-f]{32}-\d{4,}\.npz")
MOST_ROWS = 50
"""Rows of a window for each of its detections, up to which a file is read."""
LARGEST_HEAD = 10_000
"""Bytes of a file beside its rows."""
FORM: dict[str, tuple[str, tuple[int, ...]]] = {
    "object": ("int64", ()),
    "frame": ("int64", ()),
    "mean": ("float64", (4,)),
    "variance": ("float64", (4,)),
    "present": ("float64", ()),
    "seen": ("float64", ()),
    "detection": ("int64", ()),
}
"""Kind of numbers, and shape of a row, of each part of `Followed`."""


class KeptWindows:
    """The windows of one video that are done.

    Parameters
    ----------
    directory : path
        A folder, made if there is none. Those of several videos and settings may share it.
    detections : Boxes
        Of the video, in the order of frames.
    what : anything
        Whatever else decides the answer, its ``repr`` that of its value.
    """

    def __init__(self, directory: Path, detections: Boxes, *what: Any) -> None:
        self.directory, self.detections = directory, detections
        self.fingerprint = fingerprint(detections, *what)
        directory.mkdir(parents=True, exist_ok=True)

    def path(self, number: int) -> Path:
        """Return the file of a window, numbered from 1."""
        return self.directory / f"{self.fingerprint}-{number:04d}.npz"

    def write(self, number: int, found: Window) -> None:
        """Keep the answer of a window, whole or not at all.

        Raises
        ------
        OSError
            It cannot be written.
        """
        content = io.BytesIO()
        np.savez(content, steps=found.steps, **found.boxes._asdict())
        write_whole(self.path(number), content.getvalue())

    def read(self, number: int, begin: int, end: int) -> Window | None:
        """Return the answer of a window, from frame ``begin`` to ``end``, if it is kept."""
        path = self.path(number)
        rows = np.searchsorted(self.detections.frame, [begin, end + 1])
        most = LARGEST_HEAD + 8 * 13 * MOST_ROWS * int(rows[1] - rows[0]) + 32 * (end + 1 - begin)
        try:
            parts = read_numbers(path, most=most)
        except (InputError, OSError):
            return None
        steps = parts.pop("steps", np.zeros(0))
        good = steps.dtype == "float64" and steps.shape == (end + 1 - begin, 4)
        good = good and bool(np.isfinite(steps).all())
        good = good and _form_is_right(parts)
        good = good and _values_are_right(parts, self.detections, begin, end)
        return Window(Followed(**parts), steps) if good else None


def kept_windows(directory: Path) -> list[Path]:
    """Return the files of windows in a folder, of whatever video; none if there is no folder."""
    if not directory.is_dir():
        return []
    return sorted(path for path in directory.iterdir() if NAME.fullmatch(path.name))


def remove_windows(directory: Path) -> None:
    """Remove the windows that are kept in a folder, and the folder if nothing else is in it."""
    for path in kept_windows(directory):
        path.unlink()
    if directory.is_dir() and not directory.is_symlink() and not any(directory.iterdir()):
        directory.rmdir()


def fingerprint(detections: Boxes, *what: Any) -> str:
    """Return 32 digits that change with the detections (identities apart) and with ``what``."""
    mark = hashlib.blake2b(repr((FORMAT, *what)).encode(), digest_size=16)
    for part in (detections.frame, detections.ltwh, detections.score):
        mark.update(np.ascontiguousarray(part).tobytes())
    return mark.hexdigest()


def _form_is_right(parts: dict[str, NDArray[Any]]) -> bool:
    """Whether these are the parts of `Followed`, a row a box."""
    if set(parts) != set(FORM):
        return False
    count = len(np.atleast_1d(parts["object"]))
    return all(
        parts[name].dtype == kind and parts[name].shape == (count, *row)
        for name, (kind, row) in FORM.items()
    )


def _values_are_right(
    parts: dict[str, NDArray[Any]], detections: Boxes, begin: int, end: int
) -> bool:
    """Whether each row is a box of the window, of an object, and of a detection of its frame."""
    frame, row = parts["frame"], parts["detection"]
    inside = (frame >= begin) & (frame <= end) & (row >= -1) & (row < len(detections))
    if not inside.all():
        return False
    has = row >= 0
    shares = np.stack([parts["present"], parts["seen"]])
    return bool(
        (parts["object"] >= 1).all()
        and (detections.frame[row[has]] == frame[has]).all()
        and len(np.unique(row[has])) == has.sum()
        and np.isfinite(parts["mean"]).all()
        and (np.isfinite(parts["variance"]) & (parts["variance"] > 0)).all()
        and ((shares >= 0) & (shares <= 1 + 1e-6)).all()
    )
