"""Lessons are executed once, and their outputs are kept for these packages alone."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from tools import run_lessons

pytestmark = pytest.mark.slow


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put notebooks and caches into a folder of the test's own."""
    monkeypatch.setattr(run_lessons, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(run_lessons, "CACHES", tmp_path / "caches")
    with warnings.catch_warnings():  # the Jupyter client leaves sockets and loops to the collector
        warnings.simplefilter("ignore", ResourceWarning)
        yield tmp_path
        gc.collect()


def lesson(path: Path, code: str, prose: str = "# X") -> Path:
    """Write a lesson of one cell."""
    cells = [nbformat.v4.new_markdown_cell(prose), nbformat.v4.new_code_cell(code)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    return path


def test_a_lesson_is_executed_once_until_its_code_or_the_packages_change(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = lesson(
        here / "01_x.ipynb", "import os, ppl_models; print(os.environ['MPLBACKEND'], 6 * 7)"
    )
    assert run_lessons.main([]) == 0 and "01_x" in capsys.readouterr().out
    assert run_lessons.main([]) == 0 and "01_x" not in capsys.readouterr().out
    lesson(path, "import os, ppl_models; print(os.environ['MPLBACKEND'], 6 * 7)", "# Another title")
    assert run_lessons.cached(path)
    book = run_lessons.executed(path)
    assert (
        "inline 42" in book.cells[1].outputs[0].text and book.cells[0].source == "# Another title"
    )
    with monkeypatch.context() as changed:
        changed.setattr(run_lessons, "packages_digest", lambda: "other")
        assert not run_lessons.cached(path)
    lesson(path, "print(43)")
    assert not run_lessons.cached(path)
    assert (here / "caches" / "other").exists()
    run_lessons.forget_others()
    assert [p.name for p in (here / "caches").iterdir()] == [run_lessons.packages_digest()]


def test_a_lesson_that_fails_fails_the_command_and_is_not_kept(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = lesson(here / "01_x.ipynb", "1 / 0")
    assert run_lessons.main(["01_x"]) == 1
    assert "01_x FAILED" in capsys.readouterr().err and not run_lessons.cached(path)
    with pytest.raises(RuntimeError, match=r"01_x\.ipynb fails: python -m tools.run_lessons 01_x"):
        run_lessons.executed(path)
