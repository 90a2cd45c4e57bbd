"""The cells of a CSV table: numbers, gaps, and text, each with the line that it stands in.

Cells are separated by commas, semicolons or tabs, or by blanks where all of the first line are
numbers; quotes are those of CSV. Lines with nothing in them are passed over.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ppl_models.data.compressed import read_bytes
from ppl_models.data.tables import decoded
from ppl_models.errors import InputError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_WORDS = ("NA", "N/A", "NaN", "NULL", "<NA>", "?", "")
MISSING = frozenset(c for word in _WORDS for c in (word, word.lower(), word.upper(), word.title()))
"""Cells in which nothing was measured."""
LARGEST = 3e38
"""Of a number in single precision."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf(inity)?)", re.I | re.A)
_CHUNK = 20_000  # rows whose cells are held as text at a time


class Cells(NamedTuple):
    """A table of N rows and D columns."""

    path: Path
    text: str
    delimiter: str | None
    header: tuple[str, ...] | None
    """Names of the columns, if the first line has them."""
    numbers: FloatArray
    """(N, D); NaN where there is none."""
    words: BoolArray
    """Where there is something that is no number (N, D)."""

    def line(self, row: int) -> int:
        """Return the number, from 1, of the line that holds a row."""
        return next(islice(self._rows(), row, None))[0]

    def texts(self, places: Sequence[int]) -> dict[int, list[str | None]]:
        """Return columns as text, None where nothing was measured, in one pass over the file."""
        found: dict[int, list[str | None]] = {place: [] for place in places}
        known: dict[str, str | None] = {}  # each word is kept once
        for _, row in self._rows() if places else ():
            for place, cells in found.items():
                cell = row[place]
                if cell not in known:
                    word = cell.strip()
                    known[cell] = None if word in MISSING else word
                cells.append(known[cell])
        return found

    def cell(self, row: int, place: int) -> str:
        """Return a cell as text."""
        return next(islice(self._rows(), row, None))[1][place].strip()

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        rows = _rows(self.path, self.text, self.delimiter)
        return islice(rows, 0 if self.header is None else 1, None)


def read_cells(path: Path, header: bool | None, known: Sequence[str] = ()) -> Cells:
    """Read a table, compressed or not.

    Parameters
    ----------
    path
    header
        Whether the first line has names; None: it does if it has no number, and the lines
        below it have some, or do not repeat its words.
    known
        Names: a first line that has all of these is a header as well.

    Raises
    ------
    InputError
        A file without rows, or damaged; a row of another length than the first; numbers that are
        infinite; names that are empty, or twice the same.
    OSError
        It cannot be read.
    """
    text = decoded(path, read_bytes(path))
    if "\0" in text:
        cure = "save it as text: CSV, UTF-8"
        raise InputError(str(path), "a file that is not text", "a table as text", cure)
    start = next((line for line in io.StringIO(text) if line.strip()), "")
    delimiter = _delimiter(start)
    sample = [row for _, row in islice(_rows(path, text, delimiter), 101)]
    if not sample:
        raise InputError(str(path), "no rows", "a table of one row at least", "check the file")
    named = header
    if header is None:
        wanted = bool(known) and set(known) <= {cell.strip() for cell in sample[0]}
        named = wanted or _is_header(sample[0], sample[1:])
    names = _names(path, sample[0]) if named else None
    cells = Cells(path, text, delimiter, names, np.empty((0, 0)), np.empty((0, 0), bool))
    if named and len(sample) == 1:
        cure = "add rows; or read_columns(path, header=False) if that line is data"
        raise InputError(str(path), "a header and no rows", "a table of one row at least", cure)
    numbers, words = _parse(cells, len(sample[0]))
    return cells._replace(numbers=numbers, words=words)


def _rows(path: Path, text: str, delimiter: str | None) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows, each with the number of its (last) line, from 1."""
    if delimiter is None:
        yield from ((i, line.split()) for i, line in _lines(text) if line.strip())
        return
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    try:
        for row in reader:
            if row and (len(row) > 1 or row[0].strip()):
                yield reader.line_num, row
    except csv.Error as error:
        found, cure = f"quotes that do not match ({error})", "mend the quotes in or above that line"
        raise InputError(f"{path}, line {reader.line_num}", found, "CSV", cure) from error


def _lines(text: str) -> Iterator[tuple[int, str]]:
    return enumerate(io.StringIO(text), 1)


def _delimiter(line: str) -> str | None:
    """Return what stands between the cells of the first line."""
    best = max(",;\t", key=line.count)
    if line.count(best):
        return best
    cells = line.split()
    blanks = len(cells) > 1 and all(is_number(cell) or cell in MISSING for cell in cells)
    return None if blanks else ","


def is_number(cell: str) -> bool:
    """Whether a cell is a number, or NaN."""
    return _NUMBER.fullmatch(cell.strip()) is not None


def _is_header(first: list[str], others: list[list[str]]) -> bool:
    """Whether the first line names the columns."""
    if any(is_number(cell) or cell.strip() in MISSING - {""} for cell in first):
        return False
    if not any(cell.strip() for cell in first):
        return False
    for place, name in enumerate(first):
        below = [row[place].strip() for row in others if place < len(row)]
        full = [cell for cell in below if cell not in MISSING]
        if name.strip() and 2 * sum(map(is_number, full)) > len(full):
            return True
    return not any(
        name.strip() in (row[place].strip() for row in others if place < len(row))
        for place, name in enumerate(first)
    )


def _names(path: Path, first: list[str]) -> tuple[str, ...]:
    """Return the names of a header, if they are different and not empty."""
    names = tuple(cell.strip() for cell in first)
    for place, name in enumerate(names, 1):
        if not name:
            cure = "name it, or write the table without its index (index=False)"
            found = f"no name for column {place}: {','.join(names)[:80]!r}"
            raise InputError(f"{path}, line 1", found, "a name for each column", cure)
        if name in names[: place - 1]:
            found = f"columns {names.index(name) + 1} and {place} both named {name!r}"
            cure = "rename one of them"
            raise InputError(f"{path}, line 1", found, "a name of its own for each column", cure)
    return names


def _parse(cells: Cells, width: int) -> tuple[FloatArray, BoolArray]:
    """Read all rows: numbers, and where there are words."""
    numbers, words = [], []
    rows = cells._rows()
    while chunk := list(islice(rows, _CHUNK)):
        for line, row in chunk:
            if len(row) != width:
                found = f"{len(row)} cells after rows of {width}: {','.join(row)[:80]!r}"
                cure = "mend that line; a cell with a comma in it needs quotes"
                raise InputError(f"{cells.path}, line {line}", found, "rows alike", cure)
        columns = [_numbers(column) for column in zip(*(row for _, row in chunk), strict=True)]
        block = np.stack([column for column, _ in columns], -1)
        if (np.abs(block) > LARGEST).any():
            row, place = np.argwhere(np.abs(block) > LARGEST)[0]
            found = f"{chunk[row][1][place].strip()!r} in {_called(cells, place)}"
            cure = "leave the cell empty where nothing was measured, or rescale the column"
            where = f"{cells.path}, line {chunk[row][0]}"
            raise InputError(where, found, "finite numbers, below 3e38", cure)
        numbers.append(block)
        words.append(np.stack([word for _, word in columns], -1))
    return np.concatenate(numbers), np.concatenate(words)


def _called(cells: Cells, place: int) -> str:
    """Return a column as messages call it."""
    return f"column {place + 1}" if cells.header is None else f"column {cells.header[place]!r}"


def _numbers(texts: tuple[str, ...]) -> tuple[FloatArray, BoolArray]:
    """Return the numbers of cells, NaN for gaps and words, and where words are."""
    if "_" not in "".join(texts):  # else Python reads 1_000 as a number
        with suppress(ValueError):
            found = [np.nan if cell in MISSING else float(cell) for cell in texts]
            return np.array(found), np.zeros(len(found), bool)
    stripped = [cell.strip() for cell in texts]
    number = [_NUMBER.fullmatch(cell) is not None for cell in stripped]
    found = [float(c) if ok else np.nan for c, ok in zip(stripped, number, strict=True)]
    word = [not ok and c not in MISSING for c, ok in zip(stripped, number, strict=True)]
    return np.array(found), np.array(word)
