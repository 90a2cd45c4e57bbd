"""Look at the built site with a real browser, as a reader would.

    python -m tools.browse build/site                  # exit code 1 if anything is wrong
    python -m tools.browse build/site --shots FOLDER   # also pictures of some pages, at two widths

Every page loads without an error in the console and without asking another host; no page is wider
than a phone (375 pixels); and the search finds the pages that explain the words below.

It needs Chromium and the package that drives it, which `make install` does not bring:

    apt-get install chromium && .venv/bin/pip install playwright
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import which
from threading import Thread
from typing import Any

PHONE, DESK = {"width": 375, "height": 800}, {"width": 1280, "height": 900}
WORDS = {
    "modality": ("glossary", "missing_modalities"),
    "reconstruct": ("glossary", "elbo_and_rate"),
    "reparameterisation": ("glossary", "elbo_and_rate"),
    "reparameteris": ("glossary", "elbo_and_rate"),
    "marginal likelihood": ("glossary", "02_the_elbo_by_hand"),
    "amortis": ("glossary", "story_and_guide"),
    "teacher forcing": ("closed_loops", "13_teacher_forcing"),
}
"""What a student searches for, and the pages of which each must be among the first results."""
FIRST = 12
SHOTS = (
    "docs/index", "docs/path", "docs/lecture", "docs/howto/cure_a_collapse", "docs/glossary",
    "docs/explanation/elbo_and_rate", "docs/api/inference", "docs/api/cli",
    "notebooks/01_your_own_model",
)  # fmt: skip
CURE = "apt-get install chromium && pip install playwright"


def main(arguments: Sequence[str]) -> int:
    """Print what is wrong; return the exit code."""
    site = Path(arguments[0]).resolve()
    shots = Path(arguments[arguments.index("--shots") + 1]) if "--shots" in arguments else None
    with served(site) as host, browser() as chromium:
        found = [*pages(chromium, host, site), *searches(chromium, host)]
        if shots is not None:
            photograph(chromium, host, shots)
    print("\n".join(found) or "every page loads, fits a phone, and is found")
    return int(bool(found))


@contextmanager
def served(site: Path) -> Iterator[str]:
    """Serve a folder on this machine while the block runs; give its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


@contextmanager
def browser() -> Iterator[Any]:
    """Start Chromium, or say how to get it."""
    path = which("chromium") or which("chromium-browser") or which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None:
        raise SystemExit(f"no Chromium, or nothing that drives it: {CURE}")
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def pages(chromium: Any, host: str, site: Path) -> Iterator[str]:
    """Yield what is wrong with a page, at a phone's width."""
    page = chromium.new_page(viewport=PHONE)
    said: list[str] = []
    page.on("console", lambda line: line.type == "error" and said.append(line.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda it: it.url.startswith(("data:", host)) or said.append(it.url))
    page.on("response", lambda it: it.status >= 400 and said.append(f"{it.status} {it.url}"))
    for path in sorted(site.rglob("*.html")):
        name = path.relative_to(site).as_posix()
        if name.startswith(("_", "genindex", "index")):
            continue
        page.goto(f"{host}/{name}", wait_until="networkidle")
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        if wide > 0:
            yield f"{name}: {wide} pixels wider than a phone"
        yield from (f"{name}: {line}" for line in dict.fromkeys(said))
        said.clear()
    page.close()


def searches(chromium: Any, host: str) -> Iterator[str]:
    """Yield each word whose pages are not among the first results."""
    page = chromium.new_page(viewport=DESK)
    for word, wanted in WORDS.items():
        page.goto(f"{host}/search.html?q={word.replace(' ', '+')}")
        page.wait_for_selector("ul.search li")
        page.wait_for_timeout(1500)
        links = page.eval_on_selector_all("ul.search li a", "all => all.map(a => a.href)")
        print(f"{word}: {len(links)} results: {[Path(a).name.split('?')[0] for a in links[:4]]}")
        for name in wanted:
            if not any(name in link for link in links[:FIRST]):
                yield f"search for {word}: {name} is not among the first {FIRST}"
    page.close()


def photograph(chromium: Any, host: str, folder: Path) -> None:
    """Write a picture of some pages, at the width of a desk and of a phone."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, size in (("wide", DESK), ("phone", PHONE)):
        page = chromium.new_page(viewport=size)
        for name in SHOTS:
            page.goto(f"{host}/{name}.html", wait_until="networkidle")
            page.wait_for_timeout(800)  # MathJax
            page.screenshot(path=folder / f"{Path(name).name}-{kind}.png")
        page.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
