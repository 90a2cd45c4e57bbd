"""The path through the lessons is read from their first cells."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from tools import path
from tools.run_lessons import lessons


@pytest.mark.parametrize("page", [p for p, _ in path.wanted()], ids=lambda p: p.name)
def test_generated_pages_are_in_step_with_the_lessons(page: Path) -> None:
    assert page.read_text() == dict(path.wanted())[page], "run python -m tools.path"


def test_every_lesson_is_on_the_path_once_and_after_what_it_needs() -> None:
    on_it = [one for part in path.path().values() for one in part]
    assert [one.stem for one in on_it] == [p.stem for p in lessons()]
    for one in on_it:
        assert all(need < one.number for need in one.needs), one


def test_title_needs_and_minutes_are_those_of_the_first_cell(tmp_path: Path) -> None:
    head = (
        "# What?\n\n**Question.** Why?\n\n**You should know** sums ([04](04_vae.ipynb)), and more\n"
        "([11](11_x.ipynb), again [04](04_vae.ipynb)).\n**Time**: ten minutes to read, one to run."
        "\n**Afterwards** see [05](05_y.ipynb)."
    )
    file = tmp_path / "12_what.ipynb"
    cells = [nbformat.v4.new_markdown_cell(head)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), file)
    assert path.lesson(file) == path.Lesson("12_what", "What?", ("04", "11"), 10)


def test_a_lesson_without_a_header_has_dashes() -> None:
    whole = {"VAEs": [path.Lesson("04_vae", "A VAE", (), None)]}
    assert "[04: A VAE](notebooks/04_vae.ipynb) | [page]" in path.for_readme(whole)
    assert path.for_readme(whole).rstrip().endswith("| - | - |")
    assert "04 A VAE <../notebooks/04_vae>" in path.for_site(whole)


def test_the_lecture_leads_from_each_of_its_equations_to_a_lesson() -> None:
    page = (path.ROOT / "docs/lecture.md").read_text()
    rows = [row.split("|")[2:4] for row in page.splitlines() if row.startswith("|")]
    named = [int(n) for equations, _ in rows for n in re.findall(r"\d+", equations)]
    assert sorted(named) == list(range(1, 42))
    assert all(re.search(r"\[\d\d\]", lesson) for eqs, lesson in rows if re.search(r"\d", eqs))
