from __future__ import annotations

from inference.diagnostics.table import table


def test_words_are_on_the_left_and_numbers_on_the_right() -> None:
    columns = [("site", "<"), ("kind", "<6"), ("nats", "8.2f"), ("n", "3d"), ("", "<")]
    lines = table(columns, [("z", "rate", 1.0, 3, ""), ("assignment", "rate", 2.5, 40, "(late)")])
    assert lines == [
        "site        kind        nats    n",
        "z           rate        1.00    3",
        "assignment  rate        2.50   40  (late)",
    ]


def test_a_number_too_wide_for_its_column_widens_it() -> None:
    assert table([("x", "4.1f"), ("y", "2d")], [(12345.6, 1)]) == ["      x   y", "12345.6   1"]


def test_a_table_without_rows_is_its_heads() -> None:
    assert table([("site", "<"), ("p", "6.3f")], []) == ["site       p"]
