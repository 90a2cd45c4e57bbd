from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ppl_models.data import horstat
from ppl_models.data.hearing import NAMES
from ppl_models.errors import InputError

ROWS = ["5,10,15,20,25,30,35,0,5,10,15,20,25,,61", "-5,0,NA,0,0,0,0,0,0,0,0,0,0,0,"]


def test_columns_come_in_the_order_of_the_names(tmp_path: Path) -> None:
    plain, named, mixed = (tmp_path / f"{i}.csv" for i in range(3))
    plain.write_text("\n".join(ROWS))
    named.write_text("\n".join([",".join(NAMES), *ROWS]))
    backwards = [",".join(["sex", *row.split(",")[::-1]]) for row in [",".join(NAMES), *ROWS]]
    mixed.write_text("\n".join(backwards))
    for file in (plain, named, mixed):
        table = horstat(file)
        assert table.x.shape == (2, 15)
        assert tuple(column.name for column in table.columns) == NAMES
        assert table.x[0, [0, 6, 14]].tolist() == [5, 35, 61]
        assert (~table.mask).nonzero().tolist() == [[0, 13], [1, 2], [1, 14]]


def test_what_is_no_threshold_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    for row, words in (
        ("666" + ROWS[1][2:], r"line 3, column 'l500'"),
        (ROWS[1] + "200", r"line 3, column 'age'"),
        ("deaf" + ROWS[1][2:], r"line 3, column 'l500'"),
    ):
        file.write_text("\n".join([",".join(NAMES), ROWS[0], row]))
        with pytest.raises(InputError, match=words):
            horstat(file)
    file.write_text("\n".join(",".join(map(str, row)) for row in np.eye(3)))
    with pytest.raises(InputError, match="3 columns"):
        horstat(file)
    file.write_text("\n".join([",".join(NAMES).replace("r500", "R-500"), *ROWS]))
    with pytest.raises(InputError, match="'r500'"):
        horstat(file)
