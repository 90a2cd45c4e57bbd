"""One value of a column read by itself, as of a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppl_models.data import Column, read_columns, read_value
from ppl_models.data.table_cells import read_cells
from ppl_models.errors import InputError

KINDS = {
    "age": Column("age"),
    "crp": Column("crp", "positive"),
    "visits": Column("visits", "count"),
    "sex": Column("sex", "binary", ("f", "m")),
    "stage": Column("stage", "ordinal", ("1", "2", "10")),
    "r500": Column("r500", "censored", upper=60.0),
}


@pytest.mark.parametrize(
    ("name", "text", "number"),
    [
        ("age", " -4.5e1 ", -45),
        ("crp", "0.001", 0.001),
        ("visits", "3.0", 3),
        ("sex", " m", 1),
        ("stage", "10", 2),
        ("stage", "2.0", 1),  # 2, 2.0 and "2" are one level
        ("r500", "80", 80),
    ],
)
def test_a_value_is_read_as_it_is_in_a_table(
    name: str, text: str, number: float, tmp_path: Path
) -> None:
    assert read_value(KINDS[name], text) == number
    (tmp_path / "one.csv").write_text(f"{name},other\n{text},1\n")
    table = read_columns(tmp_path / "one.csv", columns=[KINDS[name]])
    assert table.x.item() == pytest.approx(number)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("age", "old", "value: saw 'old'\n.*a number\n.*20.5"),
        ("age", "nan", "saw 'nan'"),
        ("age", "inf", "saw 'inf'"),
        ("age", "1e39", "saw '1e39'"),  # infinite in single precision
        ("crp", "0", "a number above 0"),
        ("crp", "1e-320", "a number above 0"),  # 0 in single precision
        ("visits", "-1", "a whole number from 0\n.*give 1"),
        ("visits", "0.5", "a whole number from 0"),
        ("sex", "F", "one of f, m\n.*did you mean f"),
        ("stage", "3", "one of 1, 10, 2"),
    ],
)
def test_what_a_column_cannot_have_is_an_error_that_names_it(
    name: str, text: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_value(KINDS[name], text)
    with pytest.raises(InputError, match="--observed age: saw"):
        read_value(KINDS[name], text, "--observed age")


def test_a_first_line_that_has_the_names_that_are_known_is_a_header(tmp_path: Path) -> None:
    file = tmp_path / "tones.csv"
    file.write_text("1000,500\n1,2\n")
    assert read_cells(file, None).header is None
    assert read_cells(file, None, known=["500", "1000"]).header == ("1000", "500")
    assert read_cells(file, None, known=["500", "250"]).header is None
    assert read_cells(file, False, known=["500", "1000"]).header is None
    table = read_columns(file, columns=[Column("500"), Column("1000")])
    assert table.x.tolist() == [[2, 1]]
