"""Write the executed lessons as pages with their figures: ``docs/lessons``.

    python -m tools.lessons             # those whose page is not of the notebook as it is now
    python -m tools.lessons 16_tracking # this one, whatever its page says
    python -m tools.lessons --check     # say which pages are not in step, and exit with 1

Outputs come from the cache of `tools.run_lessons`, which executes what it lacks. A page's first
line holds a digest of its notebook's cells, by which a test knows that it is in step. Warnings and
progress bars (what goes to stderr) are left out; sounds are named; of cells tagged ``remove-input``
only the output is shown, those tagged ``remove-cell`` are not shown.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import nbformat
from PIL import Image

from tools.run_lessons import NOTEBOOKS, ROOT, executed, lessons

PAGES = ROOT / "docs" / "lessons"
_LINK = re.compile(r"\]\((?!https?:|#)([^)]+)\)")


def main(arguments: Sequence[str]) -> int:
    """Write what is out of step, or with ``--check`` only name it; return the exit code."""
    names = [argument for argument in arguments if not argument.startswith("-")]
    stale = [path for path in lessons() if path.stem in names or not names and not in_step(path)]
    for path in stale:
        print(path.stem, flush=True)
        if "--check" not in arguments:
            write(path)
    return int(bool(stale) and "--check" in arguments)


def page_of(path: Path) -> Path:
    """Return the place of a lesson's page."""
    return PAGES / f"{path.stem}.md"


def digest(path: Path) -> str:
    """Return a digest of what a notebook's cells say."""
    cells = [(cell.cell_type, cell.source) for cell in nbformat.read(path, 4).cells]
    return hashlib.sha256(repr(cells).encode()).hexdigest()


def in_step(path: Path) -> bool:
    """Whether the page is of the notebook as it is now."""
    page = page_of(path)
    return page.exists() and digest(path) in page.read_text(encoding="utf-8").partition("\n")[0]


def shows_a_picture(source: str) -> bool:
    """Whether a cell's last line is a picture: ``x.plot()``, ``plot_x()``, ``draw()``, ``show()``.

    A call whose value is thrown away counts, too: then it draws by itself, or nobody sees it.
    """
    try:
        last = ast.parse(source).body[-1]
    except (SyntaxError, IndexError):  # a shell command, or nothing
        return False
    call = last.value if isinstance(last, ast.Expr) else None
    if not isinstance(call, ast.Call):
        return False
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    return name.startswith(("plot", "draw", "show"))


def write(path: Path) -> None:
    """Write the page and the figures of a notebook, with its outputs from the cache."""
    lesson = executed(path)
    PAGES.mkdir(parents=True, exist_ok=True)
    for old in PAGES.glob(f"{path.stem}-*.png"):
        old.unlink()
    head = f"<!-- by `python -m tools.lessons` from ../../notebooks/{path.name}, {digest(path)} -->"
    text = "\n\n".join([head, *_parts(path.stem, lesson.cells)])
    page_of(path).write_text(text + "\n", encoding="utf-8")


def _parts(stem: str, cells: Sequence[Any]) -> Iterator[str]:
    """Yield the parts of a page."""
    place = f"../../notebooks/{stem}.ipynb"
    yield f"*This page is the lesson [{stem}]({place}), executed: open that to work with it.*"
    pictures = 0
    for cell in cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "markdown":
            yield _LINK.sub(_moved, cell.source)
        if cell.cell_type == "markdown" or "remove-cell" in tags:
            continue
        if "remove-input" not in tags:
            yield f"```python\n{cell.source}\n```"
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/png" in data:
                pictures += 1
                name = f"{stem}-{pictures}.png"
                (PAGES / name).write_bytes(_smaller(base64.b64decode(data["image/png"])))
                yield f"![what the cell above draws]({name})"
            else:
                yield from _text(output)


def _smaller(png: bytes) -> bytes:
    """Return a picture with a palette of 128 colours, if that is smaller: pages are committed."""
    stream = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        flat = picture.convert("RGB").quantize(128, dither=Image.Dither.NONE)
        flat.save(stream, format="png", optimize=True)
    return min(png, stream.getvalue(), key=len)


def _text(output: Any) -> Iterator[str]:
    """Yield what an output says in words."""
    data = output.get("data", {})
    if "<audio" in "".join(data.get("text/html", "")):
        yield "*(a sound: open the lesson to hear it)*"
        return
    if "text/markdown" in data:
        yield _LINK.sub(_moved, data["text/markdown"])
        return
    text = output.get("text", "") if output.get("name") == "stdout" else data.get("text/plain", "")
    if text.strip():
        yield f"```text\n{text.rstrip()}\n```"


def _moved(link: re.Match[str]) -> str:
    """Return a link of a notebook as one of its page; other lessons are pages, too."""
    target, hash_, part = link[1].partition("#")
    if re.fullmatch(r"\d\d_\w+\.ipynb", target):
        target = target.replace(".ipynb", ".md")
    else:
        target = os.path.relpath(NOTEBOOKS / target, PAGES)
    return f"]({target}{hash_}{part})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
