"""Results that are kept as JSON, so that a run that was interrupted goes on where it was."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


class Kept:
    """A folder of results, a file each, written whole.

    Parameters
    ----------
    folder
        It is made if it is not there.
    again
        Names that begin with one of these are made again, though they are there.
    """

    def __init__(self, folder: Path, again: Sequence[str] = ()) -> None:
        self.folder, self.again = folder, tuple(again)
        folder.mkdir(parents=True, exist_ok=True)

    def result(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what is kept under a name, or make and keep it."""
        file = self.folder / f"{re.sub('[^A-Za-z0-9.+-]+', '_', name)}.json"
        if file.exists() and not (self.again and name.startswith(self.again)):
            found: dict[str, Any] = json.loads(file.read_text())
            return found
        found = make()
        partial = file.with_suffix(".part")
        partial.write_text(json.dumps(found))
        partial.rename(file)
        return found


def mean(values: Sequence[float | None]) -> float:
    """Return the mean of those numbers that are defined; NaN of none."""
    defined = [x for x in values if x is not None and math.isfinite(x)]
    return statistics.mean(defined) if defined else math.nan


def wins(mine: Sequence[float], rival: Sequence[float]) -> float:
    """Return the share of pairs that the first of two lists wins."""
    return statistics.mean(a > b for a, b in zip(mine, rival, strict=True))
