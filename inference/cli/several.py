"""An option with several values after it: ``--sources speech flute``, as people write it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.core import TyperCommand

from ppl_models.data.corpora import SOUNDS


class TakesSources(TyperCommand):
    """A command whose ``--sources`` takes all words behind it, to the next option or recording."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Write ``--sources A B`` as ``--sources A --sources B``, and parse that."""
        return super().parse_args(ctx, repeated(args, "--sources"))


def repeated(arguments: Sequence[str], option: str) -> list[str]:
    """Repeat an option before each of its values; a file of sound is none.

    >>> repeated(["mix.wav", "--sources", "speech", "flute", "--out", "here"], "--sources")
    ['mix.wav', '--sources', 'speech', '--sources', 'flute', '--out', 'here']
    """
    written: list[str] = []
    within = False
    for place, word in enumerate(arguments):
        if word == "--":
            return [*written, *arguments[place:]]
        if word.startswith("-") and word != "-":
            within = word.split("=")[0] == option
        elif within and Path(word).suffix.lower() in SOUNDS:
            within = False
        elif within and written[-1] != option:
            written.append(option)
        written.append(word)
    return written


def listed(values: Sequence[str]) -> list[str]:
    """Split values at commas, but for those that are there as files or folders.

    >>> listed(["speech,flute", "speech"])
    ['speech', 'flute', 'speech']
    """
    split = [[value] if Path(value).exists() else value.split(",") for value in values]
    return [name.strip() for names in split for name in names if name.strip()]
