"""What the tests of ``ppl acquire --replay`` share: a command, and what it wrote."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

import pytest

from inference.cli import table_replay

Ppl = Callable[..., tuple[int, str, str]]


def replay(ppl: Ppl, *more: str, table: str = "test.csv", code: int = 0) -> tuple[str, str]:
    """Replay a table into the folder ``out``, with few draws; return the texts."""
    out = () if "--out" in more else ("--out", "out")
    samples = () if "--samples" in more else ("--samples", "16")
    found, told, err = ppl("acquire", "run", "--replay", table, *out, *samples, *more)
    assert found == code, told + err
    assert "Traceback" not in err
    return told, err


def curve(folder: str = "out") -> list[dict[str, str]]:
    """The rows of curve.csv."""
    return _rows(f"{folder}/curve.csv")


def order(folder: str = "out") -> list[dict[str, str]]:
    """The rows of order.csv."""
    return _rows(f"{folder}/order.csv")


def _rows(path: str) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def draw_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no pictures drawn, which takes longer than all else."""
    real = table_replay._write

    def write_numbers(*given: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            import matplotlib.pyplot as plt

            import inference.tasks.acquisition as task

            figure = plt.figure()
            patch.setattr(type(figure), "savefig", lambda *a, **k: None)
            for name in ("draw_curves", "draw_areas", "draw_sequence"):
                patch.setattr(task, name, lambda *a, **k: figure, raising=False)
            real(*given)

    monkeypatch.setattr(table_replay, "_write", write_numbers)
