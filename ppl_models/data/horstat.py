"""HÖRSTAT: hearing of people in the north-west of Germany, from a copy of yours.

The table belongs to its authors, and is not generally available. Who has a copy writes it as CSV:
14 thresholds in dB HL and the age in years, empty cells where nothing was measured.

References
----------
von Gablenz and Holube, "Hearing threshold distribution and effect of screening in a
population-based German sample", International Journal of Audiology 54, 2015.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ppl_models.data.hearing import NAMES, UNITS
from ppl_models.data.table_cells import read_cells
from ppl_models.data.table_columns import Column, ColumnTable, read_columns
from ppl_models.errors import InputError

_HIGHEST = 150.0
"""dB HL that no audiometer gives, and years that nobody lives."""


def horstat(path: str | os.PathLike[str]) -> ColumnTable:
    """Read a table of audiograms: CSV with 15 columns, compressed or not.

    Parameters
    ----------
    path
        With a header, columns are found by `ppl_models.data.hearing.NAMES` (l500, ..., r8000, age)
        in any order, and others are passed over; without one they are in that order.

    Returns
    -------
    ColumnTable
        In the order of these names, as `ppl_models.data.nhanes` has them.

    Raises
    ------
    InputError
        Another number of columns, or other names; a cell that is no number, or that is outside of
        -30 to 150 dB HL or 0 to 150 years: a code, perhaps, in place of a threshold.
    OSError
        It cannot be read.
    """
    columns = [Column(name, unit=unit) for name, unit in zip(NAMES, UNITS, strict=True)]
    table = read_columns(path, columns=columns)
    lowest = np.array([-30.0] * 14 + [0.0])
    x = table.x.double().numpy()
    wrong = (x < lowest) | (x > _HIGHEST)
    if wrong.any():
        row, place = np.argwhere(wrong)[0]
        where = f"{path}, line {read_cells(Path(path), None).line(row)}, column {NAMES[place]!r}"
        expected = f"{lowest[place]:g} to {_HIGHEST:g} {UNITS[place]}"
        cure = "leave the cell empty where there is no threshold"
        raise InputError(where, f"{x[row, place]:g}", expected, cure)
    return table
