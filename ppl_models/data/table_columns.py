"""Tables with gaps, as one has them: a CSV file to numbers, a mask, and a kind for each column."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ppl_models.data.column import Column
from ppl_models.data.table_cells import LARGEST, BoolArray, Cells, FloatArray, read_cells
from ppl_models.data.table_kinds import (
    CLASSES,
    Types,
    guess_numbers,
    guess_words,
    label,
    read_types,
)
from ppl_models.errors import InputError, unknown


class ColumnTable(NamedTuple):
    """N rows of D columns."""

    x: Tensor
    """Numbers, in the units of the table, and codes 0, 1, ... of levels (N, D); NaN for gaps."""
    mask: Tensor
    """What was observed (N, D)."""
    columns: tuple[Column, ...]
    notes: tuple[str, ...]
    """What a reader should know: a column that never changes, or that nobody measured."""

    def __str__(self) -> str:
        """Return a line for each column: name, kind, values, gaps; then the notes."""
        rows = [("column", "kind", "values", "missing")]
        for column, x, mask in zip(self.columns, self.x.T, self.mask.T, strict=True):
            gaps = f"{100 * (1 - mask.double().mean().item()):.3g} %"
            rows.append((column.name, column.kind, _values(column, x[mask]), gaps))
        widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) for r in rows]
        return "\n".join(line.rstrip() for line in [*lines, *self.notes])


def read_columns(
    path: str | os.PathLike[str],
    *,
    types: Types | str | os.PathLike[str] | None = None,
    columns: Sequence[Column] | None = None,
    header: bool | None = None,
) -> ColumnTable:
    """Read a CSV table, compressed or not, of numbers and words, with gaps.

    Cells that are empty, NaN, NA, N/A, NULL or ? are gaps. `ppl_models.data.table_kinds` says how
    kinds are guessed; ``print`` the answer to see them.

    Parameters
    ----------
    path
    types
        What you know better: ``{"stage": "ordinal"}``, or a JSON file (`read_types`). Columns
        without a header are called x1, x2, ...
    columns
        Of another table, on which a model was trained: kinds and levels are these, nothing is
        guessed. With a header, columns are found by name, in any order, and others are passed over.
    header
        Whether the first line has names; by default it is looked at: it has, if it has those of
        ``columns``, numbers or not.

    Raises
    ------
    InputError
        What cannot be used, by line and column: text among numbers, dates, a different word in each
        row, a row of another length, a level that is not known, a number outside of what the kind
        allows; names that are twice the same, or unknown.
    OSError
        A file cannot be read.
    """
    said = read_types(types)
    if columns is not None and said:
        cure = "give types when the first table is read"
        raise InputError("types", "types beside columns", "one of the two", cure)
    cells = read_cells(Path(path), header, [column.name for column in columns or ()])
    places = _places(cells, columns)
    names = list(places)
    for name in said:
        if name not in places:
            raise unknown("types", name, names)
    known = {column.name: column for column in columns or ()}
    worded = [place for place in places.values() if cells.words[:, place].any()]
    texts = cells.texts(worded)
    read: list[FloatArray] = []
    made: list[Column] = []
    for name, place in places.items():
        column = known.get(name)
        one = _OneColumn(cells, place, name, texts.get(place))
        if column is None:
            column = one.described(said.get(name, {}))
        read.append(one.codes(column) if column.kind in CLASSES else one.checked(column))
        made.append(column)
    x = np.stack(read, -1)
    numbers = torch.tensor(x, dtype=torch.get_default_dtype())
    notes = tuple(note for c, v in zip(made, x.T, strict=True) for note in _notes(c.name, v))
    return ColumnTable(numbers, torch.tensor(~np.isnan(x)), tuple(made), notes)


def read_value(column: Column, text: str, where: str = "value") -> float:
    """Return the number that stands for one value of a column: its code, if it is a level.

    Parameters
    ----------
    column
        Of a table, as `read_columns` describes it.
    text
    where
        What an error calls the value.

    Raises
    ------
    InputError
        The column cannot have that value.
    """
    if column.kind in CLASSES:
        levels = [label(level) for level in column.levels]
        if label(text) not in levels:
            raise unknown(where, text.strip(), levels)
        return float(levels.index(label(text)))
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    tiny = float(np.finfo(np.float32).tiny)
    least = {"positive": tiny, "count": 0.0}.get(column.kind, -LARGEST)
    whole = column.kind != "count" or number % 1 == 0
    if least <= number <= LARGEST and whole:
        return number
    expected = {"positive": "a number above 0", "count": "a whole number from 0"}
    cure = f"give {'1' if column.kind == 'count' else '20.5'}, say"
    raise InputError(where, repr(text), expected.get(column.kind, "a number"), cure)


class _OneColumn:
    """A column of a table, while it is read."""

    def __init__(self, cells: Cells, place: int, name: str, texts: list[str | None] | None) -> None:
        self.cells, self.place, self.name = cells, place, name
        self.numbers: FloatArray = cells.numbers[:, place]
        self.words: BoolArray = cells.words[:, place]
        self.texts = texts or []
        """The cells, if some are words."""
        self.where, self.key = (
            f"{cells.path}, column {name!r}",
            json.dumps(name, ensure_ascii=False),
        )

    def described(self, said: dict[str, Any]) -> Column:
        """Return what the column is, by what was said and by what it holds."""
        kind = said.get("kind") or ("categorical" if said.get("levels") else self._guess())
        fields = {"kind": kind, **said}
        if kind in CLASSES and not fields.get("levels"):
            fields["levels"] = self._levels(kind)
        levels = fields.get("levels", ())
        count = len(levels)
        if kind in CLASSES and (count < 2 or (kind == "binary" and count != 2)):
            found = (
                f"{count} level{'s' * (count != 1)} of a {kind} column: {', '.join(levels)[:60]}"
            )
            cure = (
                f'take the column out, or name its levels: types={{{self.key}: {{"levels": ["a", '
            )
            cure += '"b"]}}'
            raise InputError(self.where, found, "two" + " or more" * (kind != "binary"), cure)
        return Column(self.name, **fields)

    def codes(self, column: Column) -> FloatArray:
        """Return the codes of levels (N,), NaN for gaps."""
        levels = {label(level): float(code) for code, level in enumerate(column.levels)}
        labels = self._labels()
        found = np.array([np.nan if cell is None else levels.get(cell, -1.0) for cell in labels])
        if (found < 0).any():
            row = int(np.argmax(found < 0))
            error = unknown(self._at(row), labels[row] or "", column.levels)
            error.cure += ", or leave the cell empty if it is not known"
            raise InputError(error.argument, error.found, error.expected, error.cure)
        return found

    def checked(self, column: Column) -> FloatArray:
        """Return the numbers (N,), NaN for gaps, if the kind allows them."""
        if self.words.any():
            row = int(np.argmax(self.words))
            found = f"{self.cells.cell(row, self.place)[:40]!r}, which is no number"
            cure = "mend that cell, or leave it empty where nothing was measured"
            cure += f'; if these are classes, types={{{self.key}: "categorical"}}'
            raise InputError(self._at(row), found, f"numbers, as of a {column.kind} column", cure)
        wrong = np.zeros(len(self.numbers), bool)
        if column.kind == "positive":
            wrong = self.numbers <= 0
        elif column.kind == "count":
            wrong = (self.numbers < 0) | (self.numbers % 1 > 0)
        if wrong.any():
            row = int(np.argmax(wrong))
            expected = "whole numbers from 0" if column.kind == "count" else "numbers above 0"
            cure = f'mend that cell, or types={{{self.key}: "real"}} when a model is trained'
            found = f"{self.numbers[row]:g} in a {column.kind} column"
            raise InputError(self._at(row), found, expected, cure)
        return self.numbers

    def _guess(self) -> str:
        """Guess the kind."""
        seen = self.numbers[~np.isnan(self.numbers)]
        if not self.words.any():
            return guess_numbers(seen)
        if self.words.sum() < len(seen):
            return "real"  # some words among numbers: `checked` says which
        words = [t for t, word in zip(self.texts, self.words, strict=True) if t and word]
        return guess_words(self.where, words, len(np.unique(seen)))

    def _levels(self, kind: str) -> tuple[str, ...]:
        """Return the levels that occur, in the order of numbers, or of the alphabet."""
        found = {cell for cell in self._labels() if cell is not None}
        if not self.words.any():
            return tuple(sorted(found, key=float))
        if kind == "ordinal":
            order = ", ".join(f'"{level}"' for level in sorted(found)[:20])
            cure = f'types={{{self.key}: {{"kind": "ordinal", "levels": [{order}]}}}}, in order'
            raise InputError(self.where, "ordinal words without levels", "their order", cure)
        return tuple(sorted(found))

    def _labels(self) -> list[str | None]:
        """Return the names of the levels (N,), None for gaps."""
        if self.words.any():
            known = {cell: label(cell) for cell in set(self.texts) if cell is not None}
            return [None if cell is None else known[cell] for cell in self.texts]
        distinct, codes = np.unique(self.numbers, return_inverse=True)
        names = [None if np.isnan(number) else label(float(number)) for number in distinct]
        return [names[code] for code in codes]

    def _at(self, row: int) -> str:
        """Return where a cell stands, for messages."""
        return f"{self.cells.path}, line {self.cells.line(row)}, column {self.name!r}"


def _places(cells: Cells, columns: Sequence[Any] | None) -> dict[str, int]:
    """Return the names of the columns to read, and where each stands."""
    width = cells.numbers.shape[1]
    if cells.header is not None:
        there = {name: place for place, name in enumerate(cells.header)}
        for column in columns or ():
            if column.name not in there:
                error = unknown(f"{cells.path}, columns", column.name, there)
                cure = f"{error.cure} Or add the column, with empty cells"
                raise InputError(error.argument, error.found, error.expected, cure)
        return there if columns is None else {c.name: there[c.name] for c in columns}
    if columns is None:
        return {f"x{place + 1}": place for place in range(width)}
    if len(columns) != width:
        cure = "give the columns of the table that the model was trained on, in their order"
        raise InputError(str(cells.path), f"{width} columns", f"{len(columns)} of them", cure)
    return {column.name: place for place, column in enumerate(columns)}


def _notes(name: str, values: FloatArray) -> list[str]:
    """Say what is special about a column."""
    seen = values[~np.isnan(values)]
    if not len(seen):
        return [f"{name}: never measured, so nothing can be learned of it"]
    if len(seen) > 1 and (seen == seen[0]).all():
        return [f"{name}: always the same"]
    return []


def _values(column: Column, seen: Tensor) -> str:
    """Return the values of a column in short."""
    if column.kind in CLASSES:
        shown = ", ".join(column.levels[:6]) + ", ..." * (len(column.levels) > 6)
        return shown if len(shown) <= 60 else shown[:57] + "..."
    return f"{seen.min():.4g} to {seen.max():.4g}" if len(seen) else "-"
