"""``ppl acquire --replay``: what it says of wrong words, and of more rows than it measures."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from inference.cli import table_replay
from inference.cli.app import main
from inference.tasks.acquisition import save_table
from ppl_models.likelihoods import Column
from tests.inference.cli.replays import Ppl, curve, draw_nothing, order, replay
from tests.inference.table_runs import DESIGN, rows, saved, write


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


# -- wrong words -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (("--observed", "age=45"), 2, "--replay goes with none of --observed, --interactive"),
        (("age=45",), 2, "--replay goes with none"),
        (("--interactive",), 2, "--replay goes with none"),
        (("--known", "agee"), 1, "--known: saw 'agee'\n.*\n.*did you mean age"),
        (("--target", "agee"), 1, "--target: saw 'agee'"),
        (("--target", "age", "--policy", "fixed"), 1, "--policy lookahead"),
        (("--rows", "0"), 2, "--rows"),
        (("--out", "test.csv"), 1, "test.csv"),
    ],
)
def test_wrong_words_are_named(ppl: Ppl, more: tuple[str, ...], code: int, message: str) -> None:
    _, err = replay(ppl, *more, code=code)
    assert re.search(message, err), err
    assert not Path("out").exists()


def test_a_replay_needs_a_folder_and_a_file(ppl: Ppl) -> None:
    code, _, err = ppl("acquire", "run", "--replay", "test.csv")
    assert code == 2 and "--replay needs --out DIR" in err
    _, err = replay(ppl, table="nowhere.csv", code=1)
    assert "nowhere.csv" in err and not Path("out").exists()


def test_tables_of_one_column_or_with_nothing_to_measure_have_curves(ppl: Ppl, plain: None) -> None:
    for place, name in enumerate(("a", "a=b")):  # a name may have = in it
        columns = (Column(name, "categorical", ("x", "y", "z")),) if place else (Column(name),)
        design = replace(DESIGN, columns=columns)
        model, guide = design.pair()
        values = torch.tensor([0.0, 1.0, 2.0, 1.0])[:, None]
        save_table(f"run{place}", design, model.start_from(values), guide)
        Path("one.csv").write_text(f"{name}\nx\nz\n" if place else f"{name}\n0\n2\n")
        run = ("acquire", f"run{place}")
        code, _, err = ppl(*run, "--replay", "one.csv", "--out", str(place))
        assert code == 0, err
        assert float(curve(str(place))[-1]["rmse"]) == 0 and len(curve(str(place))) == 2
        code, _, err = ppl(*run, "--replay", "one.csv", "--out", f"k{place}", "--known", name)
        assert code == 0 and len(curve(f"k{place}")) == 1, err
        code, told, err = ppl(*run, f"{name}=y" if place else f"{name}=1")
        assert code == 0 and "nothing is left" in told, err


# -- many rows -------------------------------------------------------------------------------------


def test_too_many_rows_are_reduced_by_lot_and_that_is_said(
    ppl: Ppl, plain: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_replay, "MOST_ROWS", 4)
    _, err = replay(ppl, "--policy", "fixed")
    assert "note: 4 of 9 rows, by lot; more with --rows\n" in err
    assert {row["row"] for row in order()} == set("0123")
    _, err = replay(ppl, "--policy", "fixed", "--rows", "9", "--out", "all")
    assert "note" not in err and len({row["row"] for row in order("all")}) == 9
    replay(ppl, "--policy", "fixed", "--seed", "1", "--out", "other")
    assert order("other") != order() or curve("other") != curve()


@pytest.mark.slow
def test_a_million_rows_are_read_and_twenty_thousand_of_them_measured(
    ppl: Ppl, plain: None
) -> None:
    lines = Path("test.csv").read_text().splitlines()
    block = "\n".join(lines[1:]) + "\n"
    Path("large.csv").write_text(f"{lines[0]}\n" + block * (1_000_000 // 9))
    _, err = replay(ppl, "--policy", "fixed", "--steps", "1", table="large.csv")
    assert "note: 20,000 of 999,999 rows, by lot" in err and len(curve()) == 2
