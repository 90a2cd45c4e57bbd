from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ppl_models.data import nhanes
from ppl_models.errors import InputError
from tests.xport import xport_bytes

NAN = float("nan")
SHARED = Path("/work/shared/data/nhanes")
TONES = ("500", "1K1", "1K2", "2K", "3K", "4K", "6K", "8K")


def write(folder: Path, stem: str, demo: str, first: int, rows: list[dict[str, float]]) -> None:
    """Files of a cycle: thresholds by the survey's names, 20 dB where none is given."""
    names = [f"AUXU{tone}{ear}" for ear in "RL" for tone in TONES]
    columns = {"SEQN": np.arange(first, first + len(rows), dtype=float)}
    columns |= {name: np.array([row.get(name, 20.0) for row in rows]) for name in names}
    (folder / f"{stem}.XPT").write_bytes(xport_bytes(columns))
    people = np.arange(first - 1, first + len(rows), dtype=float)  # one was not tested
    ages = {"SEQN": people[::-1].copy(), "RIDAGEYR": (people - first + 30)[::-1].copy()}
    (folder / f"{demo}.xpt").write_bytes(xport_bytes(ages))


def test_columns_are_left_right_age_and_codes_are_told_apart(tmp_path: Path) -> None:
    rows = [
        {"AUXU500L": 5.0, "AUXU8KR": -10.0, "AUXU1K1L": 15.0, "AUXU1K2L": 25.0},
        {"AUXU8KR": 666.0, "AUXU2KL": 888.0, "AUXU3KL": NAN},
        {"AUXU1K1L": 888.0, "AUXU1K2L": 35.0, "AUXU1K1R": NAN, "AUXU1K2R": 666.0},
        dict.fromkeys([f"AUXU{tone}{ear}" for ear in "RL" for tone in TONES], NAN),
        dict.fromkeys([f"AUXU{tone}{ear}" for ear in "RL" for tone in TONES], 888.0),
    ]
    write(tmp_path, "AUX_G", "DEMO_G", 100, rows)
    found = nhanes(tmp_path)
    assert found.number.tolist() == [100, 101, 102]  # the others were not tested
    assert found.names == (
        *("l500", "l1000", "l2000", "l3000", "l4000", "l6000", "l8000"),
        *("r500", "r1000", "r2000", "r3000", "r4000", "r6000", "r8000"),
        "age",
    )
    assert found.x[0].tolist() == [5, 15, *[20] * 11, -10, 30]
    assert found.mask[0].all() and found.cycle == ("2011-2012",) * 3
    where = found.names.index
    assert found.no_response.nonzero().tolist() == [[1, where("r8000")], [2, where("r1000")]]
    assert found.not_obtained.nonzero().tolist() == [[1, where("l2000")]]
    missing = [[1, where("l2000")], [1, where("l3000")], [1, where("r8000")], [2, where("r1000")]]
    assert (~found.mask).nonzero().tolist() == missing
    assert torch.equal(found.x.isnan(), ~found.mask) and found.x[2, where("l1000")] == 35
    assert found.x[:, -1].tolist() == [30, 31, 32]


def test_what_was_not_heard_can_be_a_value_for_a_censored_column(tmp_path: Path) -> None:
    write(tmp_path, "AUX_G", "DEMO_G", 100, [{"AUXU8KR": 666.0, "AUXU8KL": 888.0}])
    found = nhanes(tmp_path, no_response=120.0)
    assert found.x[0, 13] == 120 and found.mask[0, 13] and found.no_response[0, 13]
    assert not found.mask[0, 6]


def test_cycles_follow_one_another(tmp_path: Path) -> None:
    write(tmp_path, "aux1", "DEMO", 10, [{}, {}])
    write(tmp_path, "AUX_I", "demo_i", 500, [{}])
    found = nhanes(tmp_path, ["2015-2016", "1999-2000"])
    assert found.number.tolist() == [500, 10, 11]
    assert found.cycle == ("2015-2016", "1999-2000", "1999-2000")


def test_a_person_without_an_age_has_none(tmp_path: Path) -> None:
    write(tmp_path, "AUX_G", "DEMO_G", 100, [{}])
    nobody = xport_bytes({"SEQN": np.array([7.0]), "RIDAGEYR": np.array([50.0])})
    (tmp_path / "DEMO_G.xpt").write_bytes(nobody)
    found = nhanes(tmp_path)
    assert not found.mask[0, -1] and found.x[0, -1].isnan()


def test_an_absent_file_is_an_error_that_says_where_it_is_to_be_had(tmp_path: Path) -> None:
    write(tmp_path, "AUX_G", "DEMO_G", 100, [{}])
    url = "https://wwwn.cdc.gov/Nchs/Data/Nhanes/Public/"
    with pytest.raises(InputError, match="no AUX_B.xpt") as caught:
        nhanes(tmp_path, ["2001-2002"])
    assert f"{url}2001/DataFiles/AUX_B.xpt" in caught.value.cure
    (tmp_path / "DEMO_G.xpt").unlink()
    with pytest.raises(InputError, match="no DEMO_G.xpt") as caught:
        nhanes(tmp_path)
    assert f"{url}2011/DataFiles/DEMO_G.xpt" in caught.value.cure
    with pytest.raises(InputError, match="no such folder"):
        nhanes(tmp_path / "absent")


def test_wrong_cycles_are_errors(tmp_path: Path) -> None:
    write(tmp_path, "AUX_G", "DEMO_G", 100, [{}])
    with pytest.raises(InputError, match="did you mean 2011-2012"):
        nhanes(tmp_path, ["2011-12"])
    for cycles in ("2011-2012", ()):
        with pytest.raises(InputError, match="a list of cycles"):
            nhanes(tmp_path, cycles)
    with pytest.raises(InputError, match="twice"):
        nhanes(tmp_path, ["2011-2012", "2011-2012"])


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs NHANES 2011-12 in /work/shared/data/nhanes")
def test_the_real_files() -> None:
    """Counts and extremes of 666 and 888 are those of pandas.read_sas."""
    found = nhanes(SHARED)
    assert found.x[found.mask].min() == -10 and found.x[:, :14][found.mask[:, :14]].max() == 120
    assert 20 <= found.x[:, 14].min() and found.x[:, 14].max() <= 69
    assert found.mask[:, 14].all()
    assert found.no_response.sum(0).tolist() == [1, 1, 2, 2, 4, 3, 8, 1, 1, 2, 1, 5, 6, 8, 0]
    assert 3860 < len(found.x) < 3900
    assert not (found.no_response & found.mask).any()
    steps = found.x[:, :14][found.mask[:, :14]] % 5
    assert (steps == 0).all()
    pandas = pytest.importorskip("pandas")
    table = pandas.read_sas(SHARED / "AUX_G.xpt", format="xport").set_index("SEQN")
    rows = table.loc[found.number.double().numpy()]
    for column, name in ((0, "AUXU500L"), (9, "AUXU2KR"), (13, "AUXU8KR")):
        wanted = rows[name].where(rows[name] < 600).round(9).to_numpy()
        assert np.array_equal(found.x[:, column].double().numpy(), wanted, equal_nan=True)
