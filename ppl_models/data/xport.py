"""SAS transport files (XPORT, version 5), in which public surveys are published: numbers alone.

A file is a row of 80-byte records: headers, the names of the variables, and the rows of a table in
the floating point format of IBM mainframes. Only what is needed of it is read: no code, no formats.

References
----------
SAS Institute, "The Record Layout of a Data Set in SAS Transport (XPORT) Format", TS-140, 1990.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ppl_models.data.compressed import read_bytes
from ppl_models.errors import InputError, unknown

_RECORD = 80
_MARK = b"HEADER RECORD*******"
_TABLE = 2 * _RECORD  # bytes of two records
FloatArray = NDArray[np.float64]


class _Variable(NamedTuple):
    """Where a variable stands in a row."""

    name: str
    is_number: bool
    length: int
    start: int


def read_xport(path: str | os.PathLike[str], names: Sequence[str]) -> dict[str, FloatArray]:
    """Read variables of the table in a SAS transport file, compressed or not.

    Parameters
    ----------
    path
    names
        Of variables that are numbers.

    Returns
    -------
    dict
        For each name its numbers (N,); NaN for the 28 kinds of "missing" of SAS.

    Raises
    ------
    InputError
        It is no such file, or is cut short, or holds several tables; or a variable does not exist,
        or is text.
    OSError
        It cannot be read.
    """
    content = read_bytes(path)
    variables, start = _variables(str(path), content)
    known = {variable.name: variable for variable in variables}
    width = sum(variable.length for variable in variables)
    rows = _rows(str(path), content, start, width)
    found = {}
    for name in names:
        if name not in known:
            raise unknown(f"{path}, variable", name, known)
        if not known[name].is_number:
            cure = "ask for variables that are numbers"
            raise InputError(f"{path}, variable", f"{name}, which is text", "a number", cure)
        at, length = known[name].start, known[name].length
        found[name] = ibm_floats(rows[:, at : at + length])
    return found


def ibm_floats(cells: NDArray[np.uint8]) -> FloatArray:
    """Return the numbers (N,) of IBM floating point cells of 2 to 8 bytes (N, bytes).

    A number is (-1)^sign 16^(exponent - 64) m / 2^56: a byte of sign and exponent, and 56 bits of
    m, of which a double keeps 53. Missing ones are a letter, a point or an underscore, then zeros.
    """
    whole = np.zeros((len(cells), 8), np.uint8)
    whole[:, : cells.shape[1]] = cells
    bits = whole.view(">u8").astype(np.uint64).reshape(-1)
    first, mantissa = whole[:, 0], bits & np.uint64(2**56 - 1)
    exponent = 4 * ((first & 0x7F).astype(np.int32) - 64) - 56
    numbers = np.ldexp(mantissa.astype(np.float64), exponent)
    missing = (mantissa == 0) & (first != 0) & (first != 0x80)
    return np.where(missing, np.nan, np.where(first & 0x80, -numbers, numbers))


def _variables(path: str, content: bytes) -> tuple[list[_Variable], int]:
    """Return the variables, and the byte at which rows begin."""
    headers = [b"LIBRARY HEADER", b"MEMBER  HEADER", b"DSCRPTR HEADER", b"NAMESTR HEADER"]
    at = 0
    for header in headers:
        record = content[at : at + _RECORD]
        if not record.startswith(_MARK + header):
            _refuse(path, content, record)
        at += _RECORD
        if header.startswith(b"MEMBER"):
            size = _number(path, record[74:78])  # of a description: 140 bytes, on VAX 136
        elif not header.startswith(b"NAMESTR"):
            at += _TABLE  # names of the library or table, and dates
    count = _number(path, record[54:58])
    described = content[at : at + count * size]
    at += -(-count * size // _RECORD) * _RECORD
    if not content[at : at + _RECORD].startswith(_MARK + b"OBS     HEADER"):
        _refuse(path, content, content[at : at + _RECORD])
    variables = []
    for entry in (described[i : i + size] for i in range(0, len(described), size)):
        kind, length, start = (int.from_bytes(entry[a:b], "big") for a, b in _FIELDS)
        name = entry[8:16].decode("ascii", errors="replace").strip().upper()
        variables.append(_Variable(name, kind == 1, length, start))
    return variables, at + _RECORD


_FIELDS = (0, 2), (4, 6), (84, 88)


def _rows(path: str, content: bytes, start: int, width: int) -> NDArray[np.uint8]:
    """Return the bytes of the rows (N, width), without the blanks that fill the last record."""
    body = np.frombuffer(content, np.uint8, offset=start)
    if _MARK + b"MEMBER" in content[start:]:
        cure = "write each table to a file of its own"
        raise InputError(path, "several tables", "one table", cure)
    if not width or len(body) % _RECORD:
        found = f"{len(content):,} bytes, which are no whole records of {_RECORD}"
        raise InputError(path, found, "a whole SAS transport file", "download it again")
    count = len(body) // width
    rows = body[: count * width].reshape(count, width)
    if (body[count * width :] != 0x20).any():
        found = "a last row that is cut short"
        raise InputError(path, found, "a whole SAS transport file", "download it again")
    while count and len(body) - (count - 1) * width < _RECORD and (rows[count - 1] == 0x20).all():
        count -= 1
    return rows[:count]


def _number(path: str, digits: bytes) -> int:
    """Return a number of a header."""
    if not digits.strip().isdigit():
        _refuse(path, digits, digits)
    return int(digits)


def _refuse(path: str, content: bytes, record: bytes) -> None:
    """Raise the error for a file that is something else."""
    expected = "a SAS transport file (XPORT, version 5)"
    if record.startswith(_MARK + b"LIBV8"):
        found, cure = "a transport file of version 8", "write it with the XPORT engine, version 5"
    elif content.lstrip()[:1] == b"<":
        found, cure = "a web page", "download the file itself, not the page about it"
    else:
        found, cure = f"{record[:48]!r} where a header must be", "download it again"
    raise InputError(path, found, expected, cure)
