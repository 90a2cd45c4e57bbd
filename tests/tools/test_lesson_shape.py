"""Every lesson has the one shape; and what a lesson lacks is found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

from tools import lesson_shape, lessons

HIDDEN = {"jupyter": {"source_hidden": True}}
EXERCISE = "<details><summary>Solution</summary>\n\nYes.\n\n</details>"
GOOD = [
    ("md", "# T\n\n**Question.** Q **You should know** K **Time**: T **Afterwards** A"),
    ("md", "## The model\n\n$$p(x, z)$$\n\n$$\\mathcal{L}$$"),
    ("py", "check(model, guide, x).plot()"),
    ("md", "*Figure 1. The model.* [ELBO](../docs/glossary.md#elbo)"),
    ("md", "[prior](../docs/glossary.md#prior), [latent](../docs/glossary.md#latent)"),
    ("md", "## Simulate\n\n## Fit\n\n## Diagnose\n\n## Answer"),
    ("prose", 'Markdown(f"It is {1:.1f}.")'),
    ("claims", "assert 1 < 2"),
    ("md", "## Exercises\n\n" + "\n\n".join(f"{e}\n\n{EXERCISE}" for e in lesson_shape.EXERCISES)),
    ("md", "## Summary\n\n* a\n* b\n* c\n\n## References\n\n* A, 'B', C 1999"),
]


def write(path: Path, parts: list[tuple[str, str]]) -> Path:
    """Write a notebook of markdown, code, and tagged code cells."""
    cells: list[Any] = []
    tags = {"prose": lesson_shape.PROSE, "claims": lesson_shape.CLAIMS}
    for kind, source in parts:
        if kind == "md":
            cells.append(nbformat.v4.new_markdown_cell(source))
            continue
        metadata = {"tags": [tags[kind]], **HIDDEN} if kind in tags else {}
        cells.append(nbformat.v4.new_code_cell(source, metadata=metadata))
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@pytest.mark.parametrize("path", lessons.lessons(), ids=lambda p: p.stem)
def test_each_lesson_has_the_shape(path: Path) -> None:
    assert lesson_shape.faults(path) == []


def test_a_whole_lesson_has_no_faults(tmp_path: Path) -> None:
    assert lesson_shape.faults(write(tmp_path / "a.ipynb", GOOD)) == []


@pytest.mark.parametrize(
    ("part", "old", "new", "fault"),
    [
        (0, "# T", "T", "no title"),
        (0, "**Time**", "Time", "has no **Time**"),
        (1, "$$p(x, z)$$", "", "display equations"),
        (2, ".plot()", "", "no plate diagram"),
        (3, "*Figure 1.", "*Figure 2.", "numbered [2]"),
        (3, "*Figure 1. The model.*", "", "1 cells draw, 0 captions"),
        (3, "#elbo", "#elbow", "terms that the glossary lacks: elbow"),
        (4, "glossary.md#prior", "", "fewer than three"),
        (5, "## Simulate\n\n## Fit", "## Fit\n\n## Simulate", "not in the order"),
        (5, "## Diagnose", "", "no section '## Diagnose"),
        (6, "Markdown(f", "print(", "no number in prose"),
        (7, "assert 1 < 2", "1 < 2", "no claim is asserted"),
        (8, "**3. Prove.**", "", "no exercise **3. Prove.**"),
        (8, "<summary>Solution</summary>\n\n", "<summary>Solution</summary>\n", "three solutions"),
        (9, "* c", "", "three lines"),
        (9, "1999", "", "no reference"),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path, part: int, old: str, new: str, fault: str
) -> None:
    parts = list(GOOD)
    kind, source = parts[part]
    assert old in source
    parts[part] = kind, source.replace(old, new)
    found = lesson_shape.faults(write(tmp_path / "a.ipynb", parts))
    assert any(fault in line for line in found), found


def test_hidden_cells_are_hidden_in_jupyter_too(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ipynb", GOOD)
    book = nbformat.read(path, 4)
    for cell in book.cells:
        cell.metadata.pop("jupyter", None)
    nbformat.write(book, path)
    assert sum("shows its source" in line for line in lesson_shape.faults(path)) == 2


def test_the_command_prints_faults_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = write(tmp_path / "01_a.ipynb", GOOD)
    broken = write(tmp_path / "02_b.ipynb", GOOD[:-1])
    monkeypatch.setattr(lesson_shape, "lessons", lambda: [whole, broken])
    assert lesson_shape.main(["01_a"]) == 0 and "no faults" in capsys.readouterr().out
    assert lesson_shape.main([]) == 1 and "02_b: the summary" in capsys.readouterr().out
