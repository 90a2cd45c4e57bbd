"""``ppl fit-table``: what it reads and trains, and what it says of tables that it cannot use."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.checkpoint import load
from inference.cli.app import main
from inference.tasks.acquisition import load_table, train
from inference.tasks.acquisition.files import FILE
from tests.inference.table_runs import DESIGN, NAMES, rows, write

Ppl = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ppl(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ppl:
    """Run the command in a folder with a table, on small pairs; return exit code and texts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")

    def small(columns: Any, latent_dim: int | None = None) -> Any:
        return replace(DESIGN, columns=tuple(columns), latent_dim=latent_dim or 2)

    monkeypatch.setattr(train, "design_for", small)
    write("table.csv", rows()[0])

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


def fit(ppl: Ppl, *more: str, table: str = "table.csv", code: int = 0) -> tuple[str, str]:
    out = () if "--out" in more else ("--out", "run")
    epochs = () if "--epochs" in more else ("--epochs", "1")
    found, told, err = ppl("fit-table", table, *out, *epochs, *more)
    assert found == code, told + err
    assert "Traceback" not in err
    return told, err


def said(ppl: Ppl, message: str, *more: str, **how: Any) -> str:
    """What is said of a table that cannot be used; no run is left."""
    _, err = fit(ppl, *more, code=1, **how)
    assert re.search(message, err), err
    assert not Path("run", FILE).exists()
    return err


def text(content: str, name: str = "bad.csv") -> str:
    Path(name).write_text(content, encoding="utf-8")
    return name


def numbers(*lines: str, count: int = 12) -> str:
    """A table of three columns of numbers, with other lines first."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(count, 3, generator=generator).tolist()
    return "\n".join([*lines, *(",".join(f"{v:.3f}" for v in row) for row in values)]) + "\n"


# -- training --------------------------------------------------------------------------------------


def test_kinds_are_guessed_and_printed_and_the_run_is_that_of_python(ppl: Ppl) -> None:
    told, _ = fit(ppl)
    lines = told.splitlines()
    assert [line.split()[0] for line in lines[:8]] == ["column", *NAMES]
    kinds = {line.split()[0]: line.split()[1] for line in lines[1:8]}
    assert kinds["sex"] == "binary" and kinds["blood"] == kinds["pain"] == "categorical"
    assert "Trained 1 epoch" in told and told.endswith(f"saved: run/{FILE}\n")
    found = load_table("run")
    assert [column.name for column in found.design.columns] == NAMES and len(found.order) == 7


def test_types_latent_seed_and_epochs_are_those_that_were_asked_for(ppl: Ppl) -> None:
    types = {
        "pain": {"kind": "ordinal", "levels": ["none", "some", "much"]},
        "r500": {"kind": "censored", "upper": 60, "unit": "dB"},
    }
    Path("types.json").write_text(json.dumps(types))
    more = ("--types", "types.json", "--latent", "3", "--seed", "5", "--epochs", "2")
    told, _ = fit(ppl, *more)
    found, extra = load_table("run"), load(f"run/{FILE}").extra
    assert found.design.columns[5].levels == ("none", "some", "much")
    assert found.design.columns[6].upper == 60 and found.model.latent_dim == 3
    assert extra["seed"] == 5 and extra["epochs"] == 2 and "ordinal" in told


def test_a_table_without_a_header_has_numbered_columns(ppl: Ppl) -> None:
    fit(ppl, table=text(numbers()))
    assert load_table("run").model.likelihood.names == ("x1", "x2", "x3")
    table = text(numbers("500,1000,2000"))  # names that are numbers have to be said
    fit(ppl, "--header", "--out", "named", table=table)
    assert load_table("named").model.likelihood.names == ("500", "1000", "2000")
    assert load_table("named").ranges["500"][1] < 100
    fit(ppl, "--no-header", "--out", "plain", table=table)
    assert load_table("plain").ranges["x1"][1] == 500


def test_a_stopped_training_says_how_to_go_on_and_ends_at_the_same_numbers(
    ppl: Ppl, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(ppl, "--out", "whole", "--epochs", "3")
    real = train.fit

    def stopping(*arguments: Any, **named: Any) -> Any:
        def stop(step: int, loss: float) -> None:
            if step == 2:
                os.kill(os.getpid(), signal.SIGINT)

        return real(*arguments, **named, on_step=stop)

    monkeypatch.setattr(train, "fit", stopping)
    _, err = fit(ppl, "--out", "two", "--epochs", "3", code=130)
    assert "the same command with --resume goes on" in err
    monkeypatch.setattr(train, "fit", real)
    _, err = fit(ppl, "--out", "two", "--epochs", "3", code=1)
    assert "--resume" in err
    fit(ppl, "--out", "two", "--epochs", "3", "--resume")
    one, two = (load(f"{name}/{FILE}").tensors for name in ("whole", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)


# -- tables that cannot be used, and their cures ---------------------------------------------------


def test_a_column_all_missing_is_noted_and_named_and_leaving_it_out_works(ppl: Ppl) -> None:
    x = rows()[0]
    x[:, 0] = torch.nan
    write("gone.csv", x)
    told, err = fit(ppl, table="gone.csv", code=1)
    assert "age: never measured, so nothing can be learned of it" in told
    assert "gone.csv: saw no value of column 'age'" in err and "leave the column out" in err
    write("left.csv", x, header=NAMES[1:], names=NAMES[1:])
    fit(ppl, table="left.csv")


def test_a_constant_column_is_noted_and_learned(ppl: Ppl) -> None:
    x = rows()[0]
    x[:, 0] = 44.0
    write("constant.csv", x)
    told, _ = fit(ppl, table="constant.csv")
    assert "age: always the same" in told and load_table("run").ranges["age"] == (44, 44)


def test_one_row_and_too_few_rows_are_named(ppl: Ppl) -> None:
    write("one.csv", rows(1, missing=0.0)[0])
    said(ppl, "column 'sex': saw 1 level of a categorical column", table="one.csv")
    for size in (1, 9):
        write("few.csv", rows(size, missing=0.0)[0], NAMES[:3], NAMES[:3])
        err = said(ppl, f"few.csv: saw shape \\({size}, 3\\)\n.*10 rows or more", table="few.csv")
        assert "give more rows" in err
    write("few.csv", rows(10, missing=0.0)[0])
    fit(ppl, table="few.csv")


def test_text_among_numbers_is_named_with_its_line_and_its_cures_work(ppl: Ppl) -> None:
    table = numbers("a,b,c", "1,high,2")
    err = said(
        ppl, r"bad.csv, line 2, column 'b': saw 'high', which is no number", table=text(table)
    )
    assert '--types TYPES.json, a file with {"b": "categorical"}' in err and "types=" not in err
    fit(ppl, table=text(table.replace("high", "")))
    Path("types.json").write_text(err.split("a file with ")[1].strip())
    fit(ppl, "--types", "types.json", "--out", "classes", table=text(table))


def test_names_of_people_are_no_classes_and_taking_them_out_works(ppl: Ppl) -> None:
    lines = [f"p{i},{i % 5},{i % 7}" for i in range(30)]
    err = said(ppl, "30 different words in 30 rows", table=text("\n".join(["who,a,b", *lines])))
    assert "take the column out" in err and '{"NAME": "categorical"}' in err
    lines = [line.split(",", 1)[1] for line in lines]
    fit(ppl, table=text("\n".join(["a,b", *lines])))


def test_dates_are_named_and_their_cure_works(ppl: Ppl) -> None:
    lines = [f"2024-01-{i + 1:02d},{i % 5}" for i in range(12)]
    err = said(ppl, "dates: '2024-01-01'", table=text("\n".join(["day,a", *lines])))
    assert "days since the first" in err
    fit(ppl, table=text("\n".join(["day,a", *(f"{i},{i % 5}" for i in range(12))])))


def test_headers_that_are_twice_the_same_are_named(ppl: Ppl) -> None:
    said(ppl, "columns 1 and 3 both named 'a'\n.*\n.*rename", table=text(numbers("a,b,a")))
    fit(ppl, table=text(numbers("a,b,c")))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no rows"),
        ("a,b,c\n", "a header and no rows\n.*\n.*or --no-header"),
        (numbers("a,b,c", "1,2"), "line 2: saw 2 cells after rows of 3"),
        (numbers("a,,c"), "no name for column 2"),
        (numbers("a,b,c", "1,1e39,2"), "'1e39' in column 'b'"),
        ("a\0b", "not text"),
    ],
)
def test_files_that_are_no_tables_are_named(ppl: Ppl, content: str, message: str) -> None:
    said(ppl, message, table=text(content))


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ("{", "types.json: saw no JSON"),
        ('{"agee": "real"}', r"--types: saw 'agee'\n.*\n.*did you mean age"),
        ('{"age": "reel"}', "did you mean real"),
        ('{"age": "count"}', "in a count column"),
        ('{"pain": "ordinal"}', r"ordinal words without levels\n.*\n.*--types TYPES.json, a file"),
        ('{"sex": {"levels": ["m"]}}', "1 level of a"),
    ],
)
def test_types_that_do_not_fit_are_named(ppl: Ppl, types: str, message: str) -> None:
    said(ppl, message, "--types", text(types, "types.json"))


def test_files_that_are_not_there_are_named(ppl: Ppl) -> None:
    said(ppl, "nowhere.csv", table="nowhere.csv")
    said(ppl, "types.json", "--types", "types.json")


@pytest.mark.parametrize("word", ["--latent", "--epochs"])
def test_none_of_something_is_wrong_usage(ppl: Ppl, word: str) -> None:
    _, err = fit(ppl, word, "0", code=2)
    assert word in err and not Path("run").exists()


def test_another_accelerator_is_named(ppl: Ppl) -> None:
    err = said(ppl, "accelerator.*: saw .*'abacus'", "--accelerator", "abacus")
    assert "--accelerator cpu" in err
    fit(ppl, "--accelerator", "cpu")


@pytest.mark.slow
def test_a_million_rows_are_read_and_learned(ppl: Ppl) -> None:
    line = "\n".join(f"{i % 97},{i % 89},{i % 83}" for i in range(10_000))
    Path("large.csv").write_text("a,b,c\n" + "\n".join([line] * 100))
    told, _ = fit(ppl, table="large.csv")
    assert "Trained 1 epoch" in told
