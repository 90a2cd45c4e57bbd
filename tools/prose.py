"""Docstrings as reStructuredText: what is markup there, and not meant as such, is escaped.

Docstrings are written for readers of the source: ``|x|`` is an absolute value, ``(*S, D)`` a shape,
and a name in single backticks is a link only if it can lead somewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_CODE = re.compile(r"(``.*?``|:[\w:]+:`.*?`|`.*?`_?)")
_NAME = re.compile(r"`((?:ppl_models|guides|inference)(?:\.\w+)+|[A-Z]\w+)`")
_STAR = re.compile(r"\*(?=\w+(?:[,):]|\.\.\.))")


def escaped(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a docstring; literal and display blocks stay as they are."""
    inside: int | None = None  # the indent of the line that began a block
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if inside is not None and line.strip() and indent <= inside:
            inside = None
        if inside is None and line.rstrip().endswith("::") or line.lstrip().startswith(".. "):
            inside = indent
            yield line
        else:
            yield line if inside is not None else _line(line)


def _line(line: str) -> str:
    parts = _CODE.split(line)
    return "".join(_code(p) if i % 2 else _words(p) for i, p in enumerate(parts))


def _code(text: str) -> str:
    """Return a name that can be looked up as it is, other code as a literal."""
    if (
        not text.startswith("`")
        or text.startswith("``")
        or text.endswith("_")
        or _NAME.fullmatch(text)
    ):
        return text
    return f"`{text}`"


def _words(text: str) -> str:
    return _STAR.sub(r"\\*", text).replace("|", r"\|")
