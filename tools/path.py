"""Write the path through the lessons, from what their first cells say of themselves.

    python -m tools.path            # into README.md and two pages of docs/, between the marks
    python -m tools.path --check    # say what is not in step, and exit with 1

The first cell of a lesson has its title, what one should know (with links to other lessons) and
its minutes: see "A lesson" in CONTRIBUTING.md.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import nbformat

from tools.run_lessons import ROOT, lessons

PARTS = {"Foundations": 1, "VAEs": 5, "Time": 11, "Answers": 16, "Trust": 23}
"""The number of each part's first lesson."""
BLOCK = re.compile(r"(<!-- lessons -->\n).*?(<!-- end of lessons -->)", re.DOTALL)
LINKS = re.compile(r"(<!-- lesson links -->\n).*?(<!-- end of lesson links -->)", re.DOTALL)
_KNOW = re.compile(r"\*\*You should know\*\*(.*?)(?=\*\*Time\*\*|\n\n|\Z)", re.DOTALL)
_TIME = re.compile(r"\*\*Time\*\*:?\s*(\w+)")
_WORDS = {"five": 5, "ten": 10, "fifteen": 15, "twenty": 20, "thirty": 30}


class Lesson(NamedTuple):
    """What the first cell of a notebook says."""

    stem: str
    title: str
    needs: tuple[str, ...]
    """The numbers of the lessons that one should know."""
    minutes: int | None

    @property
    def number(self) -> str:
        """Its two digits."""
        return self.stem[:2]


def main(arguments: Sequence[str]) -> int:
    """Write what is out of step, or with ``--check`` only name it; return the exit code."""
    stale = {path: text for path, text in wanted() if text != path.read_text(encoding="utf-8")}
    for path, text in stale.items():
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
        print(path.relative_to(ROOT))
    return int(bool(stale) and "--check" in arguments)


def wanted() -> Iterator[tuple[Path, str]]:
    """Yield each page with the path, and what it should contain."""
    whole = path()
    lecture = ROOT / "docs/lecture.md"
    links = "".join(f"[{p.stem[:2]}]: ../notebooks/{p.name}\n" for p in lessons())
    old = lecture.read_text(encoding="utf-8")
    yield lecture, LINKS.sub(lambda block: f"{block[1]}\n{links}\n{block[2]}", old)
    for page, text in (
        (ROOT / "README.md", for_readme(whole)),
        (ROOT / "docs/path.md", for_site(whole)),
    ):
        old = page.read_text(encoding="utf-8")
        yield page, BLOCK.sub(lambda block, text=text: block[1] + text + block[2], old)


def path() -> dict[str, list[Lesson]]:
    """Return the lessons of each part, in order."""
    read = [lesson(file) for file in lessons()]
    ends = [*list(PARTS.values())[1:], 100]
    return {
        part: [one for one in read if first <= int(one.number) < end]
        for (part, first), end in zip(PARTS.items(), ends, strict=True)
    }


def lesson(file: Path) -> Lesson:
    """Read the first cell of a notebook."""
    head = nbformat.read(file, 4).cells[0].source
    know = _KNOW.search(head)
    needs = re.findall(r"\((\d\d)_\w+\.ipynb", know[1]) if know else []
    time = _TIME.search(head)
    minutes = _WORDS.get(time[1]) or int(time[1]) if time else None
    title = head.partition("\n")[0].removeprefix("# ")
    return Lesson(file.stem, title, tuple(dict.fromkeys(needs)), minutes)


def for_readme(whole: dict[str, list[Lesson]]) -> str:
    """Return one table of all lessons."""
    lines = ["| | lesson | executed | after | minutes |", "|---|---|---|---|---|"]
    for part, of_part in whole.items():
        for place, one in enumerate(of_part):
            link = f"[{one.number}: {one.title}](notebooks/{one.stem}.ipynb)"
            page = f"[page](docs/lessons/{one.stem}.md)"
            lines.append(f"| {'' if place else part} | {link} | {page} | {_rest(one)} |")
    return "\n".join(lines) + "\n"


def for_site(whole: dict[str, list[Lesson]]) -> str:
    """Return a section a part: a table, and the entries of the site's tree."""
    text = ""
    for part, of_part in ((p, o) for p, o in whole.items() if o):
        links = [f"[{one.number}: {one.title}](../notebooks/{one.stem}.ipynb)" for one in of_part]
        rows = (f"| {k} | {_rest(one)} |\n" for k, one in zip(links, of_part, strict=True))
        entries = "\n".join(
            f"{one.number} {one.title} <../notebooks/{one.stem}>" for one in of_part
        )
        table = f"| lesson | after | minutes |\n|---|---|---|\n{''.join(rows)}"
        text += (
            f"\n## {part}\n\n{table}\n```{{toctree}}\n:hidden:\n:caption: {part}\n{entries}\n```\n"
        )
    return text + "\n"


def _rest(one: Lesson) -> str:
    return f"{', '.join(one.needs) or '-'} | {one.minutes or '-'}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
