"""``ppl acquire``: advice to one person, and questions asked of one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from inference.cli.app import main
from inference.tasks.acquisition import Advice, FixedOrder, Information, advise, load_table
from inference.tasks.acquisition.files import FILE
from tests.inference.table_runs import NAMES, ORDER, saved

Ppl = Callable[..., tuple[int, str, str]]
ALL = ("age=45", "crp=1.5", "visits=2", "sex=m", "blood=A", "pain=some", "r500=20")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run."""
    there = tmp_path_factory.mktemp("acquire")
    saved(there / "run")
    return there


@pytest.fixture
def ppl(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ppl:
    """Run the command in a folder with a run; return exit code and texts."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


def acquire(ppl: Ppl, *more: str, code: int = 0, run: str = "run") -> tuple[str, str]:
    found, told, err = ppl("acquire", run, *more)
    assert found == code, told + err
    assert "Traceback" not in err
    return told, err


def advised(**values: float) -> Advice:
    """What Python says."""
    x = torch.tensor([values.get(name, torch.nan) for name in NAMES])
    return advise(load_table("run").predictor, x, ~x.isnan(), num_samples=200)


def lines(told: str) -> dict[str, str]:
    """The table that is printed, a line a column."""
    return {line.split()[0]: line for line in told.splitlines()[1:8]}


# -- advice ----------------------------------------------------------------------------------------


def test_values_after_the_option_are_measurements_and_the_answer_is_that_of_python(
    ppl: Ppl, untouched: None
) -> None:
    told, err = acquire(ppl, "--observed", "age=45", "r500=20")
    found, table = advised(age=45, r500=20), lines(told)
    assert list(table) == NAMES and err == ""
    assert re.fullmatch(r"age +45 years +measured", table["age"])
    assert re.fullmatch(r"r500 +20 dB +measured", table["r500"])
    crp = found["crp"]
    assert f"{crp.value:.4g}" in table["crp"] and f"{crp.low:.4g} to {crp.high:.4g}" in table["crp"]
    assert f"probability {100 * found['blood'].probability:.0f} %" in table["blood"]
    assert f"{100 * found['pain'].gain:.0f} %" in table["pain"]
    assert f"measure next: {found.next}, which takes away" in told
    assert f"RMSE now {found.rmse:.2f}, standard units" in told
    for other in (("age=45", "r500=20"), ("--observed", "age=45", "--observed", "r500=20")):
        assert acquire(ppl, *other)[0] == told
    assert acquire(ppl, "--observed", "age=45", "r500=20", run=f"run/{FILE}")[0] == told


def test_nothing_observed_is_what_is_true_of_everybody(ppl: Ppl) -> None:
    told, _ = acquire(ppl)
    assert "measured" not in told.replace("measuring", "") and "measure next: " in told


def test_everything_observed_leaves_nothing(ppl: Ppl) -> None:
    told, _ = acquire(ppl, *ALL, "--tau", "0.1")
    assert "everything that can be measured was: nothing is left" in told
    assert "below 0.1 with probability 100 %" in told
    assert re.search(r"blood +A +measured", told) and re.search(r"sex +m +measured", told)
    told, _ = acquire(ppl, *ALL[1:], "--target", "age")
    assert "nothing is left" in told and "measured" not in lines(told)["age"]


def test_options_are_those_of_python(ppl: Ppl) -> None:
    predictor = load_table("run").predictor
    nothing = torch.full((7,), torch.nan), torch.zeros(7, dtype=torch.bool)
    for policy, reward in (("fixed", FixedOrder(ORDER)), ("information", Information())):
        found = advise(predictor, *nothing, reward=reward, num_samples=50, seed=3)
        told, _ = acquire(ppl, "--policy", policy, "--samples", "50", "--seed", "3")
        assert f"measure next: {found.next}," in told
        assert f"{found['crp'].low:.4g} to {found['crp'].high:.4g}" in told
    for policy in ("lookahead", "information"):
        told, _ = acquire(ppl, "--policy", policy, "--target", "age")
        assert "measure next: " in told and "measure next: age" not in told
    for policy in ("variance", "random"):
        assert "measure next: " in acquire(ppl, "--policy", policy)[0]
    share = 100 * advised().sure(1.1)
    assert f"below 1.1 with probability {share:.0f} %" in acquire(ppl, "--tau", "1.1")[0]


# -- wrong words -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "message", "cure"),
    [
        ("agee=45", "--observed: saw 'agee'\n.*\n.*did you mean age", "age=45"),
        ("R500=20", "did you mean r500", "r500=20"),
        ("age", "'age'\n.*NAME=VALUE\n.*write age=20", "age=20"),
        ("age=old", "--observed age: saw 'old'\n.*a number\n.*20.5", "age=20.5"),
        ("age=", "--observed age: saw ''", "age=20.5"),
        ("age=nan", "--observed age: saw 'nan'", "age=20.5"),
        ("age=1e39", "--observed age: saw '1e39'", "age=20.5"),
        ("crp=0", "a number above 0", "crp=20.5"),
        ("visits=1.5", "a whole number from 0\n.*give 1", "visits=1"),
        ("visits=-1", "a whole number from 0", "visits=1"),
        ("sex=x", "--observed sex: saw 'x'\n.*one of f, m", "sex=f"),
        ("pain=muc", "did you mean much", "pain=much"),
        ("blood=AB", "one of 0, A, B\n.*did you mean B", "blood=B"),
    ],
)
def test_values_that_cannot_be_are_named_and_the_cures_work(
    ppl: Ppl, value: str, message: str, cure: str
) -> None:
    _, err = acquire(ppl, "--observed", value, code=1)
    assert re.search(message, err), err
    acquire(ppl, "--observed", cure)


def test_a_column_given_twice_is_named(ppl: Ppl) -> None:
    _, err = acquire(ppl, "age=45", "age=46", code=1)
    assert "age twice" in err and "leave one out" in err


@pytest.mark.parametrize("value", ["age=45000", "age=-3", "r500=20000", "crp=1500"])
def test_a_value_outside_of_training_is_said_and_answered(ppl: Ppl, value: str) -> None:
    """A unit error, times 1000, gives no NaN."""
    name = value.split("=")[0]
    told, err = acquire(ppl, value)
    assert re.fullmatch(rf"note: {name}=\S+ is outside of what training had, .* is a guess\n", err)
    assert "nan" not in told and "measure next" in told
    low, high = load_table("run").ranges[name]
    assert acquire(ppl, f"{name}={low}")[1] == acquire(ppl, f"{name}={high}")[1] == ""


def test_a_run_that_stopped_early_has_no_fixed_order_and_another_policy_works(
    ppl: Ppl, tmp_path: Path
) -> None:
    saved(tmp_path, extra={})
    run = str(tmp_path)
    _, err = acquire(ppl, "--policy", "fixed", run=run, code=1)
    assert "without a fixed order" in err and "ppl fit-table --resume" in err
    assert acquire(ppl, "--policy", "lookahead", "age=1e9", run=run)[1] == ""  # of no known range


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (("--target", "weight"), 1, "saw 'weight'"),
        (("--target", "age", "--policy", "variance"), 1, "--policy lookahead"),
        (("--policy", "greedy"), 2, "greedy"),
        (("--policy", "fixed", "--policy", "random"), 2, "--policy takes one"),
        (("--out", "out"), 2, "--out goes with --replay"),
        (("--known", "age"), 2, "--known goes with --replay"),
        (("--steps", "3"), 2, "--steps goes with --replay"),
        (("--rows", "3"), 2, "--rows goes with --replay"),
        (("--overwrite",), 2, "--overwrite goes with --replay"),
        (("--tau", "0"), 2, "0"),
        (("--tau", "nan"), 2, "finite"),
        (("--samples", "1"), 2, "--samples"),
        (("--sure", "1.5"), 2, "--sure"),
        (("--steps", "0"), 2, "--steps"),
    ],
)
def test_wrong_words_are_named(ppl: Ppl, more: tuple[str, ...], code: int, message: str) -> None:
    _, err = acquire(ppl, *more, code=code)
    assert message in err


def test_a_run_that_is_none_is_named_with_the_command_that_makes_one(
    ppl: Ppl, tmp_path: Path
) -> None:
    for run in ("nowhere", str(tmp_path)):
        _, err = acquire(ppl, run=run, code=1)
        assert "RUN: saw " in err and "ppl fit-table TABLE.csv --out RUN" in err
    (tmp_path / FILE).write_bytes(b"")
    assert FILE in acquire(ppl, run=str(tmp_path), code=1)[1]


# -- questions -------------------------------------------------------------------------------------


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Answer questions with these words, then with the end of input; keep the questions."""

    def give(*words: str) -> list[str]:
        asked: list[str] = []
        left: Iterator[str] = iter(words)

        def answer(question: str = "") -> str:
            asked.append(question)
            try:
                return next(left)
            except StopIteration:
                raise EOFError from None

        monkeypatch.setattr("builtins.input", answer)
        return asked

    return give


def test_it_asks_for_what_it_wants_until_nothing_is_left(
    ppl: Ppl, answers: Callable[..., list[str]]
) -> None:
    asked = answers("20", "45", "some", "m", "1.5", "A", "2")
    told, err = acquire(ppl, "--interactive", "--policy", "fixed")
    assert [question.split(" ")[0] for question in asked] == ORDER and err == ""
    assert "expected; NAME=VALUE for another; nothing to stop" in asked[0]
    assert "none or some or much" in asked[2] and "f or m" in asked[3]
    assert told.startswith("everything that can be measured was\n")
    final = acquire(ppl, *ALL)[0]
    assert told.splitlines()[1:9] == final.splitlines()[:8]


def test_wrong_answers_are_said_and_asked_again(
    ppl: Ppl, answers: Callable[..., list[str]]
) -> None:
    asked = answers("loud", "pressure=3", "sex=x", "999", "age=30", "age=31")
    told, err = acquire(ppl, "--interactive", "--policy", "fixed")
    assert [question.split(" ")[0] for question in asked] == ["r500"] * 4 + ["age"] + ["pain"] * 2
    assert "saw 'loud'" in err and "saw 'pressure'" in err and "saw 'x'" in err
    assert "note: r500=999 is outside" in err
    assert re.search(r"age +31 years +measured", told)  # the later answer counts


@pytest.mark.parametrize("words", [(), ("",), ("  ",)])
def test_no_answer_and_the_end_of_input_stop_and_say_what_is_known(
    ppl: Ppl, answers: Callable[..., list[str]], words: tuple[str, ...]
) -> None:
    answers(*words)
    told, _ = acquire(ppl, "--interactive", "age=45")
    assert lines("\n" + told.split("\n", 1)[1])["r500"] and "measured" in told
    assert told.rstrip("\n") == "\n".join(acquire(ppl, "age=45")[0].splitlines()[:8])


def test_it_stops_once_it_is_sure(ppl: Ppl, answers: Callable[..., list[str]]) -> None:
    asked = answers("20", "45", "some", "m", "1.5", "A", "2")
    told, _ = acquire(ppl, "--interactive", "--tau", "1e6")
    assert not asked and "sure enough: the RMSE is below 1e+06 with probability 100 %" in told
    common = ("--interactive", "--policy", "fixed", "--tau", "0.9")
    counts = []
    for sure in ("0.05", "0.95"):
        asked = answers("20", "45", "some", "m", "1.5", "A", "2")
        assert "sure enough" in acquire(ppl, *common, "--sure", sure)[0]
        counts.append(len(asked))
    assert counts[0] < counts[1] <= 7
