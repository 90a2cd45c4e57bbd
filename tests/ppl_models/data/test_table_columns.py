from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ppl_models.data import Column, ColumnTable, read_columns
from ppl_models.data.table_kinds import KINDS
from ppl_models.errors import InputError
from ppl_models.likelihoods import Columns

UCI = Path("/work/shared/data/uci")


def read(folder: Path, text: str, **settings: Any) -> ColumnTable:
    file = folder / "a.csv"
    file.write_text(text)
    return read_columns(file, **settings)


def kinds(table: ColumnTable) -> dict[str, str]:
    return {column.name: column.kind for column in table.columns}


def csv(**columns: Any) -> str:
    rows = zip(*columns.values(), strict=True)
    return "\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n"


def test_numbers_gaps_and_words(tmp_path: Path) -> None:
    text = 'age,sex,"where, exactly",dose\n45, f ,Oslo,1.5e1\n,m,"Rome, Italy",?\n60,NA,Oslo,nan\n'
    table = read(tmp_path, text + "71,f,n/a,-.5\n\n")
    assert kinds(table) == {
        "age": "real",
        "sex": "binary",
        "where, exactly": "binary",
        "dose": "real",
    }
    assert table.columns[2].levels == ("Oslo", "Rome, Italy")
    nan = float("nan")
    expected = [[45, 0, 0, 15], [nan, 1, 1, nan], [60, nan, 0, nan], [71, 0, nan, -0.5]]
    assert torch.equal(table.x.nan_to_num(-9), torch.tensor(expected).nan_to_num(-9))
    assert torch.equal(table.mask, ~torch.tensor(expected).isnan())


@pytest.mark.parametrize("gap", ["", " ", "NaN", "nan", "NA", "?", "n/a", "null", "<NA>"])
def test_words_for_gaps(gap: str, tmp_path: Path) -> None:
    table = read(tmp_path, f"a,b\n1,2\n{gap},3\n")
    assert not table.mask[1, 0] and table.mask.sum() == 3 and kinds(table)["a"] == "real"


@pytest.mark.parametrize("text", ["1,2\n3,4\n", "1;2\n3;4\n", "1\t2\n3\t4\n", " 1  2\n3 4 \n"])
def test_without_a_header_columns_are_numbered(text: str, tmp_path: Path) -> None:
    table = read(tmp_path, text)
    assert kinds(table) == {"x1": "real", "x2": "real"}
    assert table.x.tolist() == [[1, 2], [3, 4]]


def test_a_header_is_known_from_a_row_of_words(tmp_path: Path) -> None:
    names, none = read(tmp_path, "sex,city\nf,Oslo\nm,Rome\n"), "f,Oslo\nm,Rome\nf,Rome\n"
    assert set(kinds(names)) == {"sex", "city"} and len(names.x) == 2
    assert set(kinds(read(tmp_path, none))) == {"x1", "x2"}
    forced = read(
        tmp_path,
        "sex,city\nf,Oslo\nm,Rome\nf,Rome\nm,Rome\n",
        header=False,
        types={"x1": "categorical", "x2": "categorical"},
    )
    assert len(forced.x) == 5
    assert set(kinds(read(tmp_path, "2011,2012\n3,4\n", header=True))) == {"2011", "2012"}


def test_compressed_byte_order_marks_and_other_ends_of_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.csv.gz"
    file.write_bytes(gzip.compress("\ufeffa,b\r\n1,2\r\n3,\r\n".encode()))
    table = read_columns(file)
    assert kinds(table) == {"a": "real", "b": "real"} and table.mask.sum() == 3


def test_kinds_are_guessed_with_care(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 400
    table = read(
        tmp_path,
        csv(
            age=rng.integers(0, 90, n),
            bit=rng.integers(0, 2, n),
            two=rng.choice([1.5, 3.0], n),
            visits=rng.negative_binomial(0.7, 0.3, n),
            rating=rng.integers(1, 6, n),
            fives=5 * rng.negative_binomial(0.7, 0.3, n),
            income=np.exp(rng.normal(3, 1.2, n)).round(3),
            gauss=rng.normal(50, 5, n).round(2),
            loss=rng.normal(size=n).round(3),
            stage=rng.choice(["II", "I", "III"], n),
            always=["7"] * n,
        ),
    )
    assert kinds(table) == {
        "age": "real",
        "bit": "binary",
        "two": "binary",
        "visits": "count",
        "rating": "real",
        "fives": "real",
        "income": "positive",
        "gauss": "real",
        "loss": "real",
        "stage": "categorical",
        "always": "real",
    }
    assert table.columns[2].levels == ("1.5", "3") and table.columns[9].levels == ("I", "II", "III")
    assert table.notes == ("always: always the same",)
    said = str(table)
    assert "stage   categorical  I, II, III" in said and said.endswith("always: always the same")
    assert read(tmp_path, "a\n1\n2\n2\n").columns[0].kind == "real"  # too few to say binary


def test_types_say_what_is_known_better(tmp_path: Path) -> None:
    text = "grade,stage,dose,n,level\n2,mid,3,1,120\n10,low,,2,40\n2.0,high,1,0,7\n"
    types: dict[str, Any] = {
        "grade": "categorical",
        "stage": {"kind": "ordinal", "levels": ["low", "mid", "high"]},
        "dose": {"kind": "positive", "unit": "mg"},
        "n": "count",
        "level": {"kind": "censored", "upper": 120},
    }
    (tmp_path / "types.json").write_text(json.dumps(types))
    for said in (types, tmp_path / "types.json", str(tmp_path / "types.json")):
        table = read(tmp_path, text, types=said)
        assert table.columns == (
            Column("grade", "categorical", ("2", "10")),
            Column("stage", "ordinal", ("low", "mid", "high")),
            Column("dose", "positive", unit="mg"),
            Column("n", "count"),
            Column("level", "censored", upper=120),
        )
        assert table.x[:, 0].tolist() == [0, 1, 0] and table.x[:, 1].tolist() == [1, 0, 2]
    ordered = read(tmp_path, "a\n3\n10\n2\n", types={"a": "ordinal"})
    assert ordered.columns[0].levels == ("2", "3", "10")
    levels = read(tmp_path, "a\nx\nx\n", types={"a": {"levels": ["x", "y"]}})
    assert levels.columns[0].kind == "categorical" and levels.x.tolist() == [[0], [0]]


def test_what_is_read_are_the_columns_of_a_likelihood(tmp_path: Path) -> None:
    types: dict[str, Any] = {
        "a": "positive",
        "b": "count",
        "c": "categorical",
        "d": {"kind": "ordinal", "levels": ["x", "y"]},
        "e": {"kind": "censored", "upper": 120, "unit": "dB"},
    }
    text = "a,b,c,d,e,f,g\n1,2,3,x,4,f,5\n2,1,4,y,5,m,6\n"
    table = read(tmp_path, text, types=types)
    assert {column.kind for column in table.columns} == set(KINDS)
    Columns(table.columns).start_from(table.x, table.mask)
    assert read(tmp_path, text, columns=table.columns).columns == table.columns


@pytest.mark.parametrize(
    ("types", "words"),
    [
        ({"agee": "real"}, "did you mean age"),
        ({"age": "reel"}, "did you mean real"),
        ({"age": {"kind": "real", "unti": "y"}}, "did you mean unit"),
        ({"age": {"kind": "censored"}}, "without limits"),
        ({"age": {"kind": "censored", "upper": "high"}}, "limits"),
        ({"age": 3}, "a kind, or fields"),
        ({"word": "real"}, "line 2, column 'word': saw 'a', which is no number"),
        ({"word": "ordinal"}, "their order"),
        ({"word": {"levels": ["a", "c"]}}, "line 3, column 'word': saw 'b'"),
        ({"age": "positive"}, "line 4, column 'age': saw -1 in a positive column"),
        ({"age": "count"}, "line 3, column 'age': saw 2.5 in a count column"),
        ({"age": "binary"}, "3 levels of a binary column"),
        (["age"], "a kind for each name"),
    ],
)
def test_types_that_do_not_fit_are_errors(types: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        read(tmp_path, "age,word\n1,a\n2.5,b\n-1,a\n", types=types)


def test_types_that_are_no_json_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "types.json").write_text("age: real")
    with pytest.raises(InputError, match="no JSON"):
        read(tmp_path, "a\n1\n", types=tmp_path / "types.json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no rows"),
        ("\n \n", "no rows"),
        ("a,b\n", "a header and no rows"),
        ("a,b,a\n1,2,3\n", "line 1: saw columns 1 and 3 both named 'a'"),
        (",a\n0,1\n", "line 1: saw no name for column 1"),
        ("a,b\n1,2\n3\n", "line 3: saw 1 cells after rows of 2"),
        ("a,b\n1,2\n3,4,5\n", "line 3: saw 3 cells after rows of 2: '3,4,5'"),
        ("a,b\n1,2\n\n3,4\n5,x\n", "line 5, column 'b': saw 'x', which is no number"),
        ("1,2\n3,4\n5,1_000\n", "line 3, column 'x2': saw '1_000'"),
        ("a,b\n1,2\n3,inf\n", "line 3: saw 'inf' in column 'b'"),
        ("1,2\n3,1e99\n", "line 2: saw '1e99' in column 2"),
        ("a,b\n1,2020-01-31\n2,2021-12-01\n", "column 'b': saw dates"),
        ("a,b\n1,31.1.2020\n2,1.12.2021\n", "column 'b': saw dates"),
        ('a,b\n1,"x\n2,y\n', "quotes that do not match"),
        ("a,b\n1,x\n2,x\n", "1 level of a categorical column"),
        ("a\0b\n", "not text"),
    ],
)
def test_tables_that_cannot_be_used_are_errors_by_line_and_column(
    text: str, words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        read(tmp_path, text)


def test_the_cure_of_a_word_among_numbers_works(tmp_path: Path) -> None:
    text = "a,b\n1,2\n3,x\n5,2\n"
    with pytest.raises(InputError, match="line 3") as caught:
        read(tmp_path, text)
    assert 'types={"b": "categorical"}' in caught.value.cure  # as a JSON file has it, too
    assert read(tmp_path, text, types={"b": "categorical"}).columns[1].levels == ("2", "x")
    assert not read(tmp_path, text.replace("x", "")).mask[1, 1]


def test_a_different_word_in_each_row_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="column 'name': saw 40 different words") as caught:
        read(tmp_path, csv(name=[f"p{i}" for i in range(40)], a=range(40)))
    assert "categorical" in caught.value.cure
    table = read(
        tmp_path,
        csv(name=[f"p{i}" for i in range(40)], a=range(40)),
        types={"name": "categorical"},
    )
    assert len(table.columns[0].levels) == 40


def test_one_row_and_columns_never_measured_or_constant(tmp_path: Path) -> None:
    one = read(tmp_path, "a,b\n1,\n")
    assert one.x.shape == (1, 2) and kinds(one) == {"a": "real", "b": "real"}
    assert one.notes == ("b: never measured, so nothing can be learned of it",)
    empty = read(tmp_path, "a,b\n1,\n1,NA\n1,?\n")
    assert empty.notes[0] == "a: always the same" and not empty.mask[:, 1].any()
    assert "0 %" in str(empty) and "100 %" in str(empty)


def test_a_second_table_is_read_as_the_first(tmp_path: Path) -> None:
    first = read(tmp_path, "a,sex,bit\n" + "1,f,3\n2,m,7\n" * 20)
    assert kinds(first) == {"a": "binary", "sex": "binary", "bit": "binary"}
    again = read(tmp_path, "bit,more,sex,a\n7,x,,1\n3.0,y,m,NA\n", columns=first.columns)
    assert again.columns == first.columns
    assert again.x.nan_to_num(-1).tolist() == [[0, -1, 1], [-1, 1, 0]]
    no_names = read(tmp_path, "1,f,3\n", columns=first.columns, header=False)
    assert no_names.x.tolist() == [[0, 0, 0]]
    for text, words in (
        ("a,sex,bit\n1,f,3\n1,x,3\n", "line 3, column 'sex': saw 'x'\n  expected: one of f, m"),
        ("a,sex,bit\n1,f,3\n1,f,4\n", "line 3, column 'bit': saw '4'\n  expected: one of 3, 7"),
        ("a,sexe,bit\n1,f,3\n", "columns: saw 'sex'"),
        ("1,f\n", "2 columns"),
    ):
        with pytest.raises(InputError, match=words):
            read(tmp_path, text, columns=first.columns)
    with pytest.raises(InputError, match="types beside columns"):
        read(tmp_path, "a\n1\n", columns=first.columns, types={"a": "real"})


def test_many_rows_are_read_in_portions_and_the_line_of_a_fault_is_right(tmp_path: Path) -> None:
    rows = [f"{i % 7},{'' if i % 5 == 0 else i / 2},{'xyz'[i % 3]}" for i in range(45_000)]
    table = read(tmp_path, "\n".join(["a,b,c", *rows]))
    assert table.x.shape == (45_000, 3) and table.columns[2].levels == ("x", "y", "z")
    assert (~table.mask).sum().item() == 9000
    assert table.x[44_999].tolist() == [44_999 % 7, 44_999 / 2, 44_999 % 3]
    rows[42_000] = "1,oops,x"
    with pytest.raises(InputError, match="line 42002, column 'b'"):
        read(tmp_path, "\n".join(["a,b,c", *rows]))


@pytest.mark.slow
def test_a_million_rows_take_memory_for_their_numbers_and_text(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    block = "".join(f"{i % 97},{i / 7:.4f},{'' if i % 3 else i},b{i % 4}\n" for i in range(1000))
    file.write_text("a,b,c,d\n" + block * 1000)
    code = (
        "import sys, resource\nfrom ppl_models.data.table_columns import read_columns\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "before = peak()\ntable = read_columns(sys.argv[1])\n"
        "print(*table.x.shape, peak() - before)"
    )
    command = [sys.executable, "-c", code, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rows, columns, used = map(int, done.stdout.split())
    assert (rows, columns) == (1_000_000, 4)
    # MiB: text of 17, a few copies of numbers of 31, a reference of 8 for each word
    assert used < 400


@pytest.mark.skipif(not UCI.is_dir(), reason="needs tables of UCI in /work/shared/data/uci")
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("concrete", (1030, 9)),
        ("energy", (768, 9)),
        ("housing", (506, 14)),
        ("wine", (1599, 12)),
        ("yacht", (308, 7)),
    ],
)
def test_real_tables(name: str, shape: tuple[int, int]) -> None:
    file = UCI / f"{name}.csv.gz"
    table = read_columns(file)
    assert table.x.shape == shape and table.mask.all()
    numbers = np.loadtxt(file, delimiter=",")
    real = [i for i, column in enumerate(table.columns) if column.kind != "binary"]
    assert np.allclose(table.x[:, real], numbers[:, real], rtol=1e-6)
    assert len(real) >= shape[1] - 1  # a river and a height, of two values each
