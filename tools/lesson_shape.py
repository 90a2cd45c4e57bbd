"""What every lesson has, and in which order: see "A lesson" in CONTRIBUTING.md.

python -m tools.lesson_shape              # the faults of all lessons; exit code 1 if any
python -m tools.lesson_shape 04_vae       # of these
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat

from tools.lessons import shows_a_picture
from tools.run_lessons import ROOT, lessons

HEADER = ("**Question.**", "**You should know**", "**Time**", "**Afterwards**")
SECTIONS = (
    "The model",
    "Simulate",
    "Fit",
    "Diagnose",
    "Answer",
    "Exercises",
    "Summary",
    "References",
)
EXERCISES = ("**1. Predict.**", "**2. Change.**", "**3. Prove.**")
SOLUTION = "<details><summary>Solution</summary>\n\n"
PROSE, CLAIMS = "remove-input", "remove-cell"
"""Tags of code cells that print prose with numbers of the run, and that assert its claims."""
_TERM = re.compile(r"\.\./docs/glossary\.md#([\w-]+)")
_CAPTION = re.compile(r"\*Figure (\d+)\.")


def main(names: Sequence[str]) -> int:
    """Print the faults of lessons; return the exit code."""
    found = [
        f"{p.stem}: {fault}"
        for p in lessons()
        if p.stem in names or not names
        for fault in faults(p)
    ]
    print("\n".join(found) or "no faults")
    return int(bool(found))


def faults(path: Path) -> list[str]:
    """Return what a lesson lacks, a line each."""
    cells = nbformat.read(path, 4).cells
    return [
        *_header(cells),
        *_sections(cells),
        *_hidden(cells),
        *_captions(cells),
        *_ending(cells),
        *_terms(cells),
    ]


def _prose(cells: Sequence[Any]) -> str:
    """Return all that a reader reads: markdown, and the cells that print it."""
    return "\n\n".join(c.source for c in cells if c.cell_type == "markdown" or PROSE in _tags(c))


def _tags(cell: Any) -> list[str]:
    return list(cell.metadata.get("tags", []))


def _header(cells: Sequence[Any]) -> Iterator[str]:
    first = cells[0].source
    if not first.startswith("# "):
        yield "the first cell is no title"
    yield from (f"the first cell has no {part}" for part in HEADER if part not in first)


def _sections(cells: Sequence[Any]) -> Iterator[str]:
    text = "\n\n".join(c.source for c in cells if c.cell_type == "markdown")
    titles = re.findall(r"^## (.+)$", text, re.MULTILINE)
    places = [next((i for i, t in enumerate(titles) if t.startswith(s)), -1) for s in SECTIONS]
    yield from (f"no section '## {s}...'" for s, at in zip(SECTIONS, places, strict=True) if at < 0)
    if -1 not in places and places != sorted(places):
        yield f"sections are not in the order {', '.join(SECTIONS)}"
    if text.count("$$") < 4:
        yield "fewer than two display equations: the factorisation, and the bound"
    code = "\n".join(c.source for c in cells if c.cell_type == "code")
    if not re.search(r"check\((?s:.*?)\)\.plot\(", code):
        yield "no plate diagram: check(model, guide, x).plot()"


def _hidden(cells: Sequence[Any]) -> Iterator[str]:
    claims = [c for c in cells if CLAIMS in _tags(c)]
    prose = [c for c in cells if PROSE in _tags(c)]
    for cell in claims + prose:
        if not cell.metadata.get("jupyter", {}).get("source_hidden"):
            yield f"a cell tagged {_tags(cell)} shows its source in Jupyter: {cell.source[:40]!r}"
    if not any(re.search(r"^\s*assert ", c.source, re.MULTILINE) for c in claims):
        yield f"no claim is asserted (in a code cell tagged {CLAIMS})"
    if not any("Markdown(f" in c.source for c in prose):
        yield f"no number in prose comes from the run (Markdown(f...) in a cell tagged {PROSE})"


def _captions(cells: Sequence[Any]) -> Iterator[str]:
    drawn = sum(c.cell_type == "code" and shows_a_picture(c.source) for c in cells)
    numbers = [int(n) for n in _CAPTION.findall(_prose(cells))]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"captions are numbered {numbers}"
    if len(numbers) < drawn:
        yield f"{drawn} cells draw, {len(numbers)} captions '*Figure n. ...*'"


def _ending(cells: Sequence[Any]) -> Iterator[str]:
    text = "\n\n".join(c.source for c in cells if c.cell_type == "markdown")
    exercises = text.partition("\n## Exercises")[2].partition("\n## Summary")[0]
    summary = text.partition("\n## Summary")[2].partition("\n## References")[0]
    yield from (f"no exercise {name}" for name in EXERCISES if name not in exercises)
    if exercises.count(SOLUTION) != 3 or exercises.count("\n\n</details>") != 3:
        yield "not three solutions folded in <details><summary>Solution</summary> with blank lines"
    if len(re.findall(r"^[*-] ", summary, re.MULTILINE)) != 3:
        yield "the summary is not three lines '* ...'"
    if not re.search(
        r"^[*-] .*\b(19|20)\d\d\b", text.partition("\n## References")[2], re.MULTILINE
    ):
        yield "no reference with its year"


def _terms(cells: Sequence[Any]) -> Iterator[str]:
    linked = set(_TERM.findall(_prose(cells)))
    missing = linked - glossary()
    if missing:
        yield f"terms that the glossary lacks: {', '.join(sorted(missing))}"
    if len(linked) < 3:
        yield f"{len(linked)} terms are linked to the glossary: fewer than three"


def glossary() -> set[str]:
    """Return the anchors of the glossary's terms."""
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    titles = re.findall(r"^### (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w-]", "", title.lower().replace(" ", "-")) for title in titles}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
