from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import speech


class Stopped:
    """A recipe whose training is interrupted."""

    design: Any = None

    def train(self, pieces: Any, folder: Path, **settings: Any) -> Any:
        folder.mkdir(exist_ok=True)
        return SimpleNamespace(interrupted=True)


def test_a_run_that_was_stopped_is_not_judged(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setitem(speech.ROWS, "VAE", Stopped())
    for _ in range(2):
        with pytest.raises(SystemExit, match="the same command goes on"):
            speech.results("VAE", 3, SimpleNamespace(pieces=None), tmp_path, None)
    assert not (tmp_path / "VAE-3" / "scores.json").exists()


def test_minutes_add_up(tmp_path: Path) -> None:
    assert speech.spent(tmp_path, 2.0) == 2
    assert speech.spent(tmp_path, 0.5) == 2.5


def test_the_table_has_means_and_every_seed() -> None:
    rows = [
        {name: value for name in (*speech.COLUMNS, "parameters") if name != "own"}
        for value in (1.0, 2.0)
    ]
    head, line = speech.table({"VAE": rows}).splitlines()
    assert line.startswith("VAE") and line.endswith("1.00 2.00")
    assert len(head.split()) == len(speech.COLUMNS) + 6
    assert [float(part) for part in line.split()[1:-2]] == [
        2,
        1,
        *[1.5] * (len(speech.COLUMNS) - 1),
    ]
