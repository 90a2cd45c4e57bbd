from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from ppl_models.data.xport import ibm_floats, read_xport
from ppl_models.errors import InputError
from tests.xport import ibm_cell, xport_bytes

NAN = float("nan")


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("4110000000000000", 1.0),
        ("C110000000000000", -1.0),
        ("4276A00000000000", 118.625),  # the textbook's example
        ("C276A00000000000", -118.625),
        ("0000000000000000", 0.0),
        ("8000000000000000", 0.0),
        ("4080000000000000", 0.5),
        ("4129B00000000000", 2.60546875),
        ("443039", 12345.0 - 0.0),
        ("2E00000000000000", NAN),
        ("4100000000000000", NAN),
        ("5A00000000000000", NAN),
        ("5F00000000000000", NAN),
    ],
)
def test_cells_are_ibm_floats(cell: str, number: float) -> None:
    cells = np.frombuffer(bytes.fromhex(cell), np.uint8)[None]
    assert ibm_floats(cells)[0] == pytest.approx(number, nan_ok=True, abs=0)


def test_doubles_survive_the_way_there_and_back() -> None:
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal(1000) * 10.0 ** rng.integers(-30, 30, 1000)
    cells = np.stack([np.frombuffer(ibm_cell(n), np.uint8) for n in numbers])
    assert np.array_equal(ibm_floats(cells), numbers)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 50])
@pytest.mark.parametrize("widths", [(8,), (8, 8, 8), (8, 3, 5), (8,) * 15])
def test_a_table_is_read_with_any_number_of_rows_and_widths(
    count: int, widths: tuple[int, ...], tmp_path: Path
) -> None:
    """The last record is filled with blanks, which are no rows."""
    rng = np.random.default_rng(1)
    table = rng.integers(-500, 500, (count, len(widths))).astype(float)
    table[rng.random(table.shape) < 0.2] = np.nan
    names = [f"V{i}" for i in range(len(widths))]
    file = tmp_path / "a.xpt"
    file.write_bytes(xport_bytes(dict(zip(names, table.T, strict=True)), widths))
    found = read_xport(file, names[::-1])
    assert list(found) == names[::-1]
    for name, column in zip(names, table.T, strict=True):
        assert np.array_equal(found[name], column, equal_nan=True)
    (tmp_path / "b.xpt.gz").write_bytes(gzip.compress(file.read_bytes()))
    again = read_xport(tmp_path / "b.xpt.gz", names[:1])["V0"]
    assert np.array_equal(again, table[:, 0], equal_nan=True)


def test_text_beside_numbers_is_passed_over_and_refused_if_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "a.xpt"
    file.write_bytes(xport_bytes({"A": np.arange(9.0), "WORD": None, "B": -np.arange(9.0)}))
    assert read_xport(file, ["B"])["B"].tolist() == (-np.arange(9.0)).tolist()
    with pytest.raises(InputError, match="WORD, which is text"):
        read_xport(file, ["WORD"])
    with pytest.raises(InputError, match="did you mean WORD"):
        read_xport(file, ["WURD"])


def test_what_is_no_such_file_is_an_error(tmp_path: Path) -> None:
    whole, file = xport_bytes({"A": np.arange(50.0), "B": np.arange(50.0)}), tmp_path / "a.xpt"
    short = xport_bytes({name: np.arange(2.0) for name in "ABC"})  # 48 bytes of a record
    for content, words in (
        (b"", "where a header must be"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (whole.replace(b"LIBRARY HEADER", b"LIBV8   HEADER", 1), "version 8"),
        (whole[:-30], "no whole records"),
        (whole[:300], "where a header must be"),
        (whole[: 80 * 8], "where a header must be"),
        (whole + whole[240:], "several tables"),
        (short[:-8] + b"\1" * 8, "cut short"),
        (struct.pack("<1000d", *range(1000)), "where a header must be"),
    ):
        file.write_bytes(content)
        with pytest.raises(InputError, match=words):
            read_xport(file, ["A"])
    with pytest.raises(OSError):
        read_xport(tmp_path / "absent.xpt", ["A"])
