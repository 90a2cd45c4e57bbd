"""Tables in plain text, as reports print them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def table(columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Return the lines of a table, its heads first.

    Parameters
    ----------
    columns
        The head of each, and how ``format`` is to write its values: ``"<"`` for words, else a
        format with a width (``"12.4f"``). A column is as wide as the widest of its cells.
    rows
        A value a column.
    """
    styles = [style for _, style in columns]
    cells = [[format(v, s) for v, s in zip(row, styles, strict=True)] for row in rows]
    bare = [[format(head, _width(style)) for head, style in columns], *cells]
    widths = [max(map(len, column)) for column in zip(*bare, strict=True)]
    pads = [str.ljust if style.startswith("<") else str.rjust for style in styles]
    lines = ([pad(c, w) for pad, c, w in zip(pads, row, widths, strict=True)] for row in bare)
    return ["  ".join(line).rstrip() for line in lines]


def _width(style: str) -> str:
    """Keep of a style how wide it is, and on which side."""
    side = "<" if style.startswith("<") else ">"
    return side + style.lstrip("<").split(".")[0].rstrip("dgf")
