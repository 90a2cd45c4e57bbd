"""What a planted error is, and how it is put into a copy of the code."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Mutant(NamedTuple):
    """A small error that somebody could make.

    Attributes
    ----------
    file : str
        Where, from the root of the repository.
    old, new : str
        The text that stands there, exactly once, and what is put in its place.
    why : str
        What a reader would call the error.
    """

    file: str
    old: str
    new: str
    why: str

    @property
    def key(self) -> str:
        """What it is called in a file of results."""
        return f"{self.file}: {self.old.strip()} -> {self.new.strip()}"


def misplaced(root: Path, mutants: list[Mutant]) -> list[str]:
    """Say which errors have no place in the code, or more than one, or change nothing."""
    found = []
    for mutant in mutants:
        path = root / mutant.file
        count = path.read_text().count(mutant.old) if path.exists() else 0
        if count != 1:
            found.append(f"{mutant.file}: {count} times {mutant.old!r}")
        elif mutant.old == mutant.new:
            found.append(f"{mutant.file}: no change, {mutant.old!r}")
    return found


def planted(text: str, mutant: Mutant) -> str:
    """Return the text of a file with the error in it.

    Raises
    ------
    ValueError
        The old text does not stand there exactly once.
    """
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.file}: {text.count(mutant.old)} times {mutant.old!r}")
    return text.replace(mutant.old, mutant.new)
