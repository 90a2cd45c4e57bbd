"""SAS transport files for tests, written as the format's description says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def ibm_cell(number: float) -> bytes:
    """A double as an IBM floating point number of 8 bytes."""
    if math.isnan(number):
        return b"." + bytes(7)
    if number == 0:
        return bytes(8)
    fraction, exponent = math.frexp(abs(number))  # fraction in [0.5, 1)
    power = -(-exponent // 4)
    mantissa = int(math.ldexp(fraction, 56 + exponent - 4 * power))
    first = (0x80 if number < 0 else 0) | (power + 64)
    return bytes([first]) + mantissa.to_bytes(7, "big")


def xport_bytes(
    columns: Mapping[str, NDArray[np.float64] | None], widths: Sequence[int] | None = None
) -> bytes:
    """A file of one table; None is a column of text."""
    widths = widths or [8] * len(columns)
    count = max(len(c) for c in columns.values() if c is not None)
    zeros = b"0" * 30
    head = b"HEADER RECORD*******"
    stamp = b"01JAN26:00:00:00".ljust(80)
    names, start = b"", 0
    for place, ((name, column), width) in enumerate(zip(columns.items(), widths, strict=True), 1):
        kind = 2 if column is None else 1
        entry = b"".join(v.to_bytes(2, "big") for v in (kind, 0, width, place))
        entry += name.encode().ljust(8) + b"a label".ljust(40) + b" " * 8 + bytes(8)
        entry += b" " * 8 + bytes(4) + start.to_bytes(4, "big")
        names += entry.ljust(140, b"\0")
        start += width
    rows = b"".join(
        (b"word".ljust(width) if column is None else ibm_cell(column[row])[:width])
        for row in range(count)
        for column, width in zip(columns.values(), widths, strict=True)
    )
    blocks = [
        head + b"LIBRARY HEADER RECORD!!!!!!!" + zeros + b"  ",
        b"SAS     SAS     SASLIB  9.4     Linux".ljust(80),
        stamp,
        head + b"MEMBER  HEADER RECORD!!!!!!!000000000000000001600000000140  ",
        head + b"DSCRPTR HEADER RECORD!!!!!!!" + zeros + b"  ",
        b"SAS     TABLE   SASDATA 9.4     Linux".ljust(80),
        stamp,
        head + b"NAMESTR HEADER RECORD!!!!!!!000000%04d00000000000000000000  " % len(columns),
        filled(names),
        head + b"OBS     HEADER RECORD!!!!!!!" + zeros + b"  ",
        filled(rows),
    ]
    return b"".join(blocks)


def filled(content: bytes) -> bytes:
    """Whole records of 80 bytes."""
    return content.ljust(-(-len(content) // 80) * 80)
