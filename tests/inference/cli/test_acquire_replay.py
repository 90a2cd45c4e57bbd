"""``ppl acquire --replay``: curves of policies on rows of a table, whatever its columns' order."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from inference.cli.app import main
from inference.tasks.acquisition import (
    LookAhead,
    Variance,
    acquire,
    load_table,
    save_table,
    stop_by_posterior,
)
from ppl_models.likelihoods import Column
from tests.inference.cli.replays import Ppl, curve, draw_nothing, order, replay
from tests.inference.table_runs import DESIGN, NAMES, ORDER, rows, saved, write

FILES = {"curve.csv", "order.csv", "curves.png", "areas.png", "sequence.png"}


@pytest.fixture
def ppl(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ppl:
    """Run the command in a folder with a run and rows; return exit code and texts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    saved(Path("run"))
    write("test.csv", rows(9, seed=1)[0])

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no pictures, which take longer than all else."""
    draw_nothing(monkeypatch)


# -- what is written -------------------------------------------------------------------------------


def test_curves_orders_and_pictures_are_written_and_are_those_of_python(
    ppl: Ppl, untouched: None
) -> None:
    told, _ = replay(ppl, "--policy", "lookahead", "--policy", "variance", "--tau", "0.5")
    assert {path.name for path in Path("out").iterdir()} == FILES
    assert Path("out/curve.csv").read_bytes().startswith(b"measured,policy,rmse,nll\n0,lookahead,")
    x, mask = rows(9, seed=1)
    x = torch.tensor([[float(f"{v:.6g}") for v in row] for row in x.tolist()])  # as the file has it
    predictor, found = load_table("run").predictor, curve()
    for policy, reward in (("lookahead", LookAhead()), ("variance", Variance())):
        wanted = acquire(predictor, x, reward, mask=mask, num_samples=16)
        mine = [row for row in found if row["policy"] == policy]
        assert [int(row["measured"]) for row in mine] == list(range(8))
        for metric in ("rmse", "nll"):
            numbers = torch.tensor([float(row[metric]) for row in mine]).double()
            assert torch.allclose(numbers, wanted.mean(metric), rtol=1e-4, atol=1e-6)
        where = stop_by_posterior(wanted, 0.5, 0.8).double().mean()
        assert f"stops after {where:.1f} measurements, where RMSE < 0.5 is likely" in told
        first = [row["column"] for row in order() if (row["policy"], row["row"]) == (policy, "0")]
        assert first == [NAMES[d] for d in wanted.order[0].tolist() if d >= 0]
    assert told.count("area ") == 2 and told.endswith("saved: out\n")
    for name in ("curves", "areas", "sequence"):
        with Image.open(f"out/{name}.png") as picture:
            assert picture.width > 500


def test_nothing_is_unknown_once_everything_was_measured(ppl: Ppl, plain: None) -> None:
    write("whole.csv", rows(5, seed=2, missing=0.0)[0])
    policies = ("lookahead", "variance", "information", "fixed", "random")
    replay(ppl, *(word for p in policies for word in ("--policy", p)), table="whole.csv")
    found = curve()
    assert [row["policy"] for row in found if row["measured"] == "0"] == list(policies)
    assert [float(row["rmse"]) for row in found if row["measured"] == "7"] == [0.0] * 5
    # before anything was measured, nothing depends on the policy
    assert len({(row["rmse"], row["nll"]) for row in found if row["measured"] == "0"}) == 1
    fixed = [row["column"] for row in order() if row["policy"] == "fixed"]
    assert fixed == ORDER * 5


def test_a_policy_asked_for_twice_is_tried_once_and_lookahead_is_the_default(
    ppl: Ppl, plain: None
) -> None:
    replay(ppl)
    assert {row["policy"] for row in curve()} == {"lookahead"}
    replay(ppl, "--policy", "fixed", "--policy", "fixed", "--out", "twice")
    assert len(curve("twice")) == 8


def test_options_do_what_they_say(ppl: Ppl, plain: None) -> None:
    replay(ppl, "--policy", "fixed", "--known", "r500", "--known", "sex", "--steps", "2")
    assert [int(row["measured"]) for row in curve()] == [0, 1, 2]
    assert {row["column"] for row in order()}.isdisjoint({"r500", "sex"})
    replay(ppl, "--target", "age", "--policy", "information", "--out", "target")
    assert "age" not in {row["column"] for row in order("target")}
    assert float(curve("target")[-1]["rmse"]) > 0  # which is never measured
    for seed, out in (("1", "a"), ("1", "b"), ("2", "c")):
        replay(ppl, "--policy", "random", "--seed", seed, "--out", out)
    texts = [Path(f"{out}/order.csv").read_text() for out in "abc"]
    assert texts[0] == texts[1] != texts[2]


def test_sure_and_tau_decide_where_it_would_stop(ppl: Ppl, plain: None) -> None:
    stops = []
    for place, sure in enumerate(("0.1", "0.95")):
        told, _ = replay(ppl, "--tau", "0.9", "--sure", sure, "--out", str(place))
        found = re.search(r"stops after (\S+) measurements", told)
        assert found is not None
        stops.append(float(found[1]))
    assert stops[0] < stops[1]


def test_answers_that_are_there_are_kept_unless_they_may_be_replaced(ppl: Ppl, plain: None) -> None:
    replay(ppl, "--policy", "fixed")
    before = Path("out/curve.csv").read_bytes()
    _, err = replay(ppl, "--policy", "random", code=1)
    assert "which has a curve.csv" in err and "--overwrite" in err
    assert Path("out/curve.csv").read_bytes() == before
    replay(ppl, "--policy", "random", "--overwrite")
    assert Path("out/curve.csv").read_bytes() != before


# -- tables of another form ------------------------------------------------------------------------


def test_columns_are_found_by_name_in_any_order_and_others_passed_over(
    ppl: Ppl, plain: None
) -> None:
    replay(ppl, "--policy", "fixed")
    x, names = rows(9, seed=1)[0], NAMES[::-1]
    write("turned.csv", x, names, names)
    lines = Path("turned.csv").read_text().splitlines()
    lines = [f"{word},{line}" for word, line in zip(["who", *"abcdefghi"], lines, strict=True)]
    Path("turned.csv").write_text("\n".join(lines))
    replay(ppl, "--policy", "fixed", "--out", "turned", table="turned.csv")
    assert curve("turned") == curve()
    write("bare.csv", x, None)  # without a header they are in the order of the run
    replay(ppl, "--policy", "fixed", "--out", "bare", table="bare.csv")
    assert curve("bare") == curve()


def test_a_header_of_numbers_is_a_header_if_the_run_has_those_names(ppl: Ppl, plain: None) -> None:
    design = replace(DESIGN, columns=(Column("500"), Column("1000")))
    model, guide = design.pair()
    save_table("run", design, model.start_from(torch.randn(20, 2)), guide)
    Path("tones.csv").write_text("500,1000\n1,2\n")
    replay(ppl, "--steps", "1", table="tones.csv")
    assert {row["row"] for row in order()} == {"0"}


def test_rows_of_another_width_are_named_and_the_cures_work(ppl: Ppl, plain: None) -> None:
    x = rows(9, seed=1)[0]
    write("narrow.csv", x, NAMES[:6], NAMES[:6])
    _, err = replay(ppl, table="narrow.csv", code=1)
    assert "narrow.csv, columns: saw 'r500'" in err and "add the column, with empty cells" in err
    x[:, 6] = torch.nan
    write("narrow.csv", x)
    replay(ppl, table="narrow.csv")
    write("bare.csv", x, None, NAMES[:6])
    _, err = replay(ppl, "--out", "bare", table="bare.csv", code=1)
    assert "bare.csv: saw 6 columns\n  expected: 7 of them" in err
    text = Path("test.csv").read_text().splitlines()
    Path("ragged.csv").write_text("\n".join([*text[:3], "1,2", *text[3:]]))
    _, err = replay(ppl, "--out", "ragged", table="ragged.csv", code=1)
    assert "line 4: saw 2 cells" in err and not Path("ragged").exists()


def test_one_row_and_rows_without_anything_are_answered(ppl: Ppl) -> None:
    write("one.csv", rows(1, seed=1, missing=0.0)[0])
    replay(ppl, table="one.csv")
    assert float(curve()[-1]["rmse"]) == 0
    x = rows(3, seed=1)[0]
    x[0] = torch.nan
    write("empty.csv", x)
    replay(ppl, "--out", "empty", table="empty.csv")
    assert {row["row"] for row in order("empty")} == {"1", "2"}
    assert all(float(row["rmse"]) < 1e3 and row["nll"] != "nan" for row in curve("empty"))


@pytest.mark.parametrize(
    ("name", "cell", "message"),
    [
        ("blood", "AB", r"line 2, column 'blood': saw 'AB'\n.*\n.*leave the cell empty"),
        ("age", "old", "line 2, column 'age': saw 'old', which is no number"),
        ("crp", "0", "0 in a positive column"),
        ("visits", "1.5", "1.5 in a count column"),
    ],
)
def test_cells_that_training_does_not_know_are_named_and_leaving_them_empty_works(
    ppl: Ppl, plain: None, name: str, cell: str, message: str
) -> None:
    text = Path("test.csv").read_text().splitlines()
    for place, content in enumerate((cell, "")):
        cells = text[1].split(",")
        cells[NAMES.index(name)] = content
        Path("odd.csv").write_text("\n".join([text[0], ",".join(cells), *text[2:]]))
        _, err = replay(ppl, "--policy", "fixed", table="odd.csv", code=1 - place)
        assert place or re.search(message, err), err


@pytest.mark.parametrize("times", [1000.0, -1.0])
def test_values_outside_of_training_are_said_and_give_no_nan(
    ppl: Ppl, plain: None, times: float
) -> None:
    x = rows(9, seed=1, missing=0.0)[0]
    x[:, 0] *= times
    write("units.csv", x)
    _, err = replay(ppl, "--policy", "lookahead", table="units.csv")
    assert "note: age: 9 of 9 values are outside of what training had: " in err
    assert "training had 20 to 80" in err and "note: r500" not in err
    assert "nan" not in Path("out/curve.csv").read_text()
