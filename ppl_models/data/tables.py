"""Tables of numbers as text: a row a line, and a word for whatever is wrong in which line.

Cells are separated by commas or by blanks. Lines of blanks, and what follows a ``#``, are passed
over. The first other line may be a header: names that begin with a letter, all different, as many
as there are columns. Anything else that is no number is an error.
"""

from __future__ import annotations

import codecs
import io
import re
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ppl_models.data.compressed import read_bytes
from ppl_models.errors import InputError

FloatArray = NDArray[np.float64]
_NUMBER = re.compile(
    r"\s*[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|nan|inf(inity)?)\s*",
    re.ASCII | re.IGNORECASE,
)
_NAME = re.compile(r"\s*\"?[^\W\d_][^,;\t]*", re.IGNORECASE)
_UTF16 = codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE


class Table(NamedTuple):
    """Numbers (R, C), and the text they were read from."""

    numbers: FloatArray
    text: str
    skipped: int  # lines above the first row

    def line(self, row: int) -> tuple[int, str]:
        """Return number, from 1, and text of the line that holds a row."""
        return next(islice(_rows(self.text, self.skipped), row, None))


def read_table(path: Path, columns: range, what: str) -> Table:
    """Read a table of numbers, compressed or not.

    Parameters
    ----------
    path
    columns
        How many there may be.
    what
        The form that is expected, for messages.

    Raises
    ------
    InputError
        The file is damaged, too large, or a line of it is no row of numbers, and is named. A
        file without rows gives a table of none.
    OSError
        It cannot be read.
    """
    text = decoded(path, read_bytes(path))
    number, head = next(_rows(text, 0), (0, ""))
    if ";" in head:
        found = f"semicolons between its cells: {head[:80]!r}"
        cure = "put commas in their place (and points in that of decimal commas, before)"
        raise InputError(f"{path}, line {number}", found, what, cure)
    delimiter = "," if "," in head else None
    header = _is_header(head, delimiter) and len(head.split(delimiter)) in columns
    skipped = number if header else number - 1
    first = next(_rows(text, skipped), (0, ""))
    if first[1] and not header:
        _check_count(path, first, delimiter, columns, what)
    numbers = _parse(text, skipped, delimiter)
    if numbers is None:
        line, found = _bad_line(text, skipped, delimiter, header)
        raise InputError(f"{path}, line {line}", found, what, "mend that line")
    if numbers.size:
        _check_count(path, first, delimiter, columns, what)
        if header and len(head.split(delimiter)) != numbers.shape[1]:
            found = f"{len(head.split(delimiter))} names over {numbers.shape[1]} columns"
            cure = "mend the header, or begin that line with #"
            raise InputError(f"{path}, line {number}", f"{found}: {head[:80]!r}", what, cure)
    return Table(numbers, text, skipped)


def decoded(path: Path, content: bytes) -> str:
    """Return text with plain ends of lines."""
    if content.startswith(_UTF16):
        found, cure = "text in UTF-16", "save it as UTF-8"
        raise InputError(f"{path}, line 1", found, "text in ASCII or UTF-8", cure)
    text = content.removeprefix(codecs.BOM_UTF8).decode("utf-8", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _rows(text: str, skipped: int) -> Iterator[tuple[int, str]]:
    """Yield the lines that hold something, each with its number in the file, from 1."""
    for number, line in enumerate(io.StringIO(text, newline="\n"), 1):
        if number > skipped and (row := line.partition("#")[0].strip(" \n\t\v\f")):
            yield number, row


def _is_header(line: str, delimiter: str | None) -> bool:
    """Whether a line names columns."""
    cells = [cell.strip() for cell in line.split(delimiter)]
    return len(set(cells)) == len(cells) > 1 and all(
        _NAME.fullmatch(cell) and not _NUMBER.fullmatch(cell) for cell in cells
    )


def _parse(text: str, skipped: int, delimiter: str | None) -> FloatArray | None:
    """Return the numbers, if they are some."""
    options: dict[str, Any] = {"delimiter": delimiter, "ndmin": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the caller reports an empty file
        try:
            return np.loadtxt(io.StringIO(text, newline="\n"), skiprows=skipped, **options)
        except ValueError:
            pass
        try:  # slower, without the lines of blanks that stop the first way
            return np.loadtxt([line for _, line in _rows(text, skipped)], **options)
        except ValueError:
            return None


def _check_count(
    path: Path, row: tuple[int, str], delimiter: str | None, columns: range, what: str
) -> None:
    """Look at how many cells the first row has."""
    number, line = row
    cells = line.split(delimiter)
    if not any(map(_NUMBER.fullmatch, cells)):
        found = f"{line[:80]!r}, which is neither a row of numbers nor a header"
    elif not cells[-1].strip():
        found = f"a comma at the end of the line, as if a cell followed: {line[:80]!r}"
    elif len(cells) not in columns:
        found = f"{len(cells)} columns: {line[:80]!r}"
    else:
        return
    cure = "convert the file; a line that is not data begins with #"
    raise InputError(f"{path}, line {number}", found, what, cure)


def _bad_line(text: str, skipped: int, delimiter: str | None, header: bool) -> tuple[int, str]:
    """Return number and fault of the first line that is no row of numbers like the first one."""
    columns, number = 0, skipped
    for number, line in _rows(text, skipped):  # noqa: B007
        cells = line.split(delimiter)
        if _is_header(line, delimiter):
            which = "a second header" if header and not columns else "a header among rows"
            return number, f"{line[:80]!r}, {which}"
        columns = columns or len(cells)
        if len(cells) != columns:
            end = ", the last one empty (a comma at the end)" * (not cells[-1].strip())
            return number, f"{len(cells)} columns after rows of {columns}: {line[:80]!r}{end}"
        for place, cell in enumerate(cells, 1):
            if not _NUMBER.fullmatch(cell):
                said = f"{cell.strip()[:40]!r} is no number" if cell.strip() else "it is empty"
                return number, f"{line[:80]!r}; in column {place}, {said}"
    return number, "text that is not numbers"
