"""Build the site from docs/, the lessons and the docstrings: ``build/site``.

    python -m tools.site            # lessons with their outputs, from the cache; it must have all
    python -m tools.site --draft    # with the outputs that the cache has: to look at pages

Nothing is executed here: see `tools.run_lessons`. Warnings are errors, and so is a page that
fetches anything from elsewhere.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.run_lessons import ROOT, cached, lessons

SITE = ROOT / "build" / "site"
_FETCHES = (
    re.compile(
        r"<(?:script|img|iframe|audio|video|source)\b[^>]*\bsrc=[\"']?((?:https?:)?//[^\"' >]+)"
    ),
    re.compile(r"<link\b(?![^>]*rel=[\"']?canonical)[^>]*\bhref=[\"']?((?:https?:)?//[^\"' >]+)"),
    re.compile(r"url\(\s*[\"']?((?:https?:)?//[^)\"']+)"),
    re.compile(r"@import\s+[\"']((?:https?:)?//[^\"']+)"),
)


def main(arguments: Sequence[str]) -> int:
    """Build; return the exit code."""
    from sphinx.cmd.build import build_main

    missing = [path.stem for path in lessons() if not cached(path)]
    if missing and "--draft" not in arguments:
        print(f"not executed: {', '.join(missing)}; python -m tools.run_lessons", file=sys.stderr)
        return 1
    begun = time.monotonic()
    options = ["-b", "html", "-c", "docs", "-W", "--keep-going", "-q", "-E"]
    done = build_main([*options, "-d", "build/doctrees", ".", str(SITE.relative_to(ROOT))])
    found = sorted(set(fetched(SITE)))
    print("\n".join(f"fetched from elsewhere: {page}: {address}" for page, address in found))
    print(f"{SITE}/index.html, in {time.monotonic() - begun:.0f} s")
    return int(bool(done or found))


def fetched(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield each page or style that would fetch something when it is viewed, and what."""
    for path in folder.rglob("*"):
        if path.suffix in (".html", ".css"):
            text = path.read_text(encoding="utf-8")
            for pattern in _FETCHES:
                yield from ((str(path.relative_to(folder)), m[1]) for m in pattern.finditer(text))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
