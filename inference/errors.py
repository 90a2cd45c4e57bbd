"""What can be wrong with a pair of a model and a guide, or with a checkpoint, and what to do."""

from __future__ import annotations

import os
import sys
from pathlib import Path


class PairError(ValueError):
    """A model and a guide that do not fit each other, their data, or Pyro's rules.

    Parameters
    ----------
    site
        The sample site, plate, parameter or argument that is wrong; ``None`` if no one of them is.
    found
        What was found there.
    expected
        What would have been right.
    cure
        What the user can do.
    """

    def __init__(
        self, site: str | None, found: str | None = None, expected: str = "", cure: str = ""
    ) -> None:
        handled = sys.exc_info()[1]
        if found is None and isinstance(handled, PairError):
            # Pyro's trace handler raises any ValueError again from its text: keep what it was
            site, found, expected, cure = handled.args
        self.site, self.found, self.expected, self.cure = site, found or "", expected, cure
        super().__init__(site, self.found, expected, cure)  # args, so that the error pickles

    def __str__(self) -> str:
        where = "the pair" if self.site is None else f"site '{self.site}'"
        what = f"  found:    {self.found}\n  expected: {self.expected}\n  cure:     {self.cure}"
        return f"{where}\n{what}"


class NonFiniteError(PairError):
    """A log density, a parameter or a datum is NaN or infinite; ``site`` names it."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or that belongs to something else.

    Parameters
    ----------
    path
        The file.
    found
        What is wrong with it.
    expected
        What would have been right.
    cure
        What the user can do.
    """

    def __init__(
        self, path: str | os.PathLike[str], found: str, expected: str = "", cure: str = ""
    ) -> None:
        self.path, self.found, self.expected, self.cure = Path(path), found, expected, cure
        super().__init__(path, found, expected, cure)  # args, so that the error pickles

    def __str__(self) -> str:
        lines = [f"{self.path}: {self.found}"]
        lines += [f"  expected: {self.expected}"] if self.expected else []
        lines += [f"  cure:     {self.cure}"] if self.cure else []
        return "\n".join(lines)
