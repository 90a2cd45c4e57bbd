"""Write what follows from the registry: the public names of models and guides, and their tables.

    python -m tools.tables            # write them
    python -m tools.tables --check    # say what is not in step, and exit with 1

The registry is `inference.cli.catalogue`. From it come lines of ``ppl_models/__init__.pyi`` and
``guides/__init__.pyi``, and the tables between ``<!-- models: FAMILY, ... -->`` and
``<!-- end of models -->`` in README.md and docs/.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from inference.cli.catalogue import STORIES
from inference.cli.story import Story

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- models: (.+?) -->\n).*?(<!-- end of models -->)", re.DOTALL)
EXPORT = re.compile(r"^from \.([\w.]+) import (\w+) as \2$", re.MULTILINE)


def main(arguments: Sequence[str]) -> int:
    """Write what is out of step, or with ``--check`` only name it; return the exit code."""
    stale = {path: text for path, text in wanted() if text != path.read_text()}
    for path, text in stale.items():
        if "--check" not in arguments:
            path.write_text(text)
        print(path.relative_to(ROOT))
    return int(bool(stale) and "--check" in arguments)


def wanted() -> Iterator[tuple[Path, str]]:
    """Yield each generated file and what it should contain."""
    for package in ("ppl_models", "guides"):
        stub = ROOT / package / "__init__.pyi"
        yield stub, with_exports(stub.read_text(), package)
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        yield page, BLOCK.sub(_filled, page.read_text())


def with_exports(stub: str, package: str) -> str:
    """Return the stub with a line for each registered class of that package, in order."""
    lines = set(stub.splitlines())
    for story in STORIES:
        module, _, name = (story.model if package == "ppl_models" else story.guide).partition(":")
        door = module.removeprefix(f"{package}.").partition(".")[0]
        lines.add(f"from .{door} import {name} as {name}")
    return _sorted("\n".join(sorted(lines)) + "\n")


def table(families: Sequence[str]) -> str:
    """Return the Markdown table of the models of those families."""
    chosen = [story for family in families for story in STORIES if story.family == family]
    if missing := set(families) - {story.family for story in chosen}:
        raise ValueError(f"no model of the family {', '.join(sorted(missing))}")
    rows = "".join(f"| `{s.name}` | {_guide(s)} | {s.sentence} |\n" for s in chosen)
    return f"| model | guide | what it is |\n|---|---|---|\n{rows}"


def _guide(story: Story) -> str:
    """Name the guide, and the model where the row goes by another name."""
    built = f" of `{story.model_name}`" if story.title else ""
    return f"`{story.guide_name}`{built}"


def _filled(block: re.Match[str]) -> str:
    return block[1] + table(block[2].split(", ")) + block[3]


def _sorted(stub: str) -> str:
    """Put imports in the order that the linter wants."""
    command = [sys.executable, "-m", "ruff", "check", "--quiet", "--fix", "--select=I"]
    done = subprocess.run(
        [*command, "--stdin-filename=ppl_models/__init__.pyi", "-"],
        cwd=ROOT, input=stub, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
