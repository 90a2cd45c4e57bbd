"""The lessons' pages are of the lessons as they are, and show what their cells draw."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import nbformat
import pytest
from PIL import Image

from tools import lessons

LESSONS = lessons.lessons()
IMAGE = re.compile(r"!\[.*?\]\(([\w-]+\.png)\)")


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_each_lesson_has_its_page(path: Path) -> None:
    assert lessons.in_step(path), "run python -m tools.lessons"


@pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
def test_a_cell_that_ends_with_a_picture_shows_it(path: Path) -> None:
    page = lessons.page_of(path).read_text()
    drawing = [
        cell.source
        for cell in nbformat.read(path, 4).cells
        if cell.cell_type == "code" and lessons.shows_a_picture(cell.source)
    ]
    for source in drawing:
        _, found, after = page.partition(f"```python\n{source}\n```")
        output = after.partition("```python")[0]
        assert found and IMAGE.search(output), source
    assert IMAGE.search(page), "a lesson without any picture"


def test_no_output_is_the_name_of_a_picture_in_place_of_it() -> None:
    for path in LESSONS:
        outputs = re.findall(r"```text\n(.*?)\n```", lessons.page_of(path).read_text(), re.DOTALL)
        bare = [text for text in outputs if re.fullmatch(r"<(Figure|Axes|Picture).*>", text)]
        assert not bare, path.stem


def test_pages_are_small_and_have_their_pictures_and_no_others() -> None:
    named = {n for p in lessons.PAGES.glob("*.md") for n in IMAGE.findall(p.read_text())}
    assert named == {p.name for p in lessons.PAGES.glob("*.png")}
    assert {p.stem for p in lessons.PAGES.glob("*.md")} == {p.stem for p in LESSONS}
    assert sum(p.stat().st_size for p in lessons.PAGES.iterdir()) < 6_000_000


def test_links_of_pages_lead_to_files() -> None:
    for page in lessons.PAGES.glob("*.md"):
        prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", prose)
        assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize(
    ("source", "shows"),
    [
        ("x = 1\ntracks.plot()", True),
        ("plot_traversal(model, guide)", True),
        ("show(rows)", True),
        ("axis = curve.plot()", False),
        ("tracks.plot().savefig('x')", False),
        ("!ls", False),
        ("", False),
    ],
)
def test_a_picture_is_known_by_the_last_line(source: str, shows: bool) -> None:
    assert lessons.shows_a_picture(source) == shows


def test_a_notebook_becomes_a_page_with_its_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lessons, "PAGES", tmp_path / "docs" / "lessons")
    monkeypatch.setattr(lessons, "NOTEBOOKS", tmp_path / "notebooks")
    lessons.NOTEBOOKS.mkdir()
    path = lessons.NOTEBOOKS / "01_x.ipynb"
    stream = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(stream, "png")
    png = base64.b64encode(stream.getvalue()).decode()
    hidden = {tag: {"tags": [tag]} for tag in ("remove-input", "remove-cell")}
    cells = [
        nbformat.v4.new_markdown_cell("# X\n\n[next](02_y.ipynb), [docs](../docs/z.md)"),
        nbformat.v4.new_code_cell("import sys; print(6 * 7); print('no', file=sys.stderr)"),
        nbformat.v4.new_code_cell("Markdown(f'...')", metadata=hidden["remove-input"]),
        nbformat.v4.new_code_cell("assert 1 < 2", metadata=hidden["remove-cell"]),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    assert not lessons.in_step(path)
    outputs = [
        nbformat.v4.new_output("stream", name="stdout", text="42\n"),
        nbformat.v4.new_output("stream", name="stderr", text="no\n"),
        nbformat.v4.new_output("display_data", {"image/png": png, "text/plain": "<Figure>"}),
        nbformat.v4.new_output("display_data", {"text/html": "<audio ...>"}),
    ]

    def executed(path: Path) -> nbformat.NotebookNode:
        book = nbformat.read(path, 4)
        book.cells[1].outputs = outputs
        prose = {"text/markdown": "It is 42, see [y](02_y.ipynb).", "text/plain": "<Markdown>"}
        book.cells[2].outputs = [nbformat.v4.new_output("execute_result", prose)]
        return book

    monkeypatch.setattr(lessons, "executed", executed)
    lessons.write(path)
    text = lessons.page_of(path).read_text()
    assert lessons.in_step(path) and "42" in text and "```text\nno" not in text
    assert "[next](02_y.md), [docs](../z.md)" in text and "a sound" in text
    assert "It is 42, see [y](02_y.md)." in text
    assert "Markdown" not in text and "assert" not in text
    with Image.open(lessons.PAGES / "01_x-1.png") as picture:
        assert picture.size == (30, 20) and "(01_x-1.png)" in text
    cells[1].source += "\n"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    assert not lessons.in_step(path)
