"""What the site is made from: doors, help, docstrings; and that it fetches nothing."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from tools import prose, reference, site

PAGES = dict(reference.pages())


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ('<script src="https://a.org/x.js"></script>', "https://a.org/x.js"),
        ('<link rel="stylesheet" href="//a.org/x.css"/>', "//a.org/x.css"),
        ("@font-face { src: url('https://a.org/x.woff') }", "https://a.org/x.woff"),
        ('@import "https://a.org/x.css";', "https://a.org/x.css"),
        ('<img alt="x" src="http://a.org/x.png">', "http://a.org/x.png"),
        ('<a href="https://a.org">a link is followed by a reader</a>', None),
        ('<script src="../_static/x.js"></script><img src="x.png">', None),
    ],
)
def test_what_a_page_would_fetch_from_elsewhere_is_found(
    text: str, address: str | None, tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text(text)
    assert list(site.fetched(tmp_path)) == ([("page.html", address)] if address else [])


def test_a_site_without_all_lessons_executed_is_not_built(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(site, "cached", lambda path: path.stem != "04_vae")
    assert site.main([]) == 1
    assert "not executed: 04_vae; python -m tools.run_lessons" in capsys.readouterr().err


def test_every_public_name_is_on_one_page() -> None:
    shown = [n for page in PAGES.values() for n in _members(page)]
    for door in ("ppl_models", "guides", "inference"):
        assert set(reference.public(door)) <= set(shown)
    for name in ("fit", "posterior", "VAE", "VAEGuide", "Objective"):
        assert shown.count(name) == 1


def _members(page: str) -> list[str]:
    found = re.search(r":members: (.+)", page)
    return found[1].split(", ") if found else []


def test_doors_exist_and_are_linked_from_the_reference() -> None:
    index = (site.ROOT / "docs/reference/index.md").read_text()
    for door in reference.DOORS:
        assert import_module(door).__doc__, door
        assert f"../api/{door}\n" in index


def test_the_page_of_the_command_has_every_command_and_its_options() -> None:
    page = PAGES["cli.md"]
    for command in ("stories", "check", "fit", "track", "resynth", "acquire"):
        assert f"## `ppl {command}`" in page
    assert "`--resume`" in page and "--help" in page


def test_pages_that_are_no_longer_wanted_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "PAGES", tmp_path / "api")
    monkeypatch.setattr(reference, "pages", lambda: [("a.md", "A")])
    reference.write()
    (tmp_path / "api" / "old.md").write_text("old")
    reference.write()
    assert [p.name for p in (tmp_path / "api").iterdir()] == ["a.md"]


@pytest.mark.parametrize(
    ("line", "escaped"),
    [
        ("|x| and |y|", r"\|x\| and \|y\|"),
        ("draws (*S, D), and *this* is said aloud", r"draws (\*S, D), and *this* is said aloud"),
        ("see `VAE` and `inference.fit`", "see `VAE` and `inference.fit`"),
        ("the argument `path`", "the argument ``path``"),
        ("``|x|`` is code, :math:`|x|` display", "``|x|`` is code, :math:`|x|` display"),
    ],
)
def test_docstrings_are_read_as_prose(line: str, escaped: str) -> None:
    assert list(prose.escaped([line])) == [escaped]


def test_blocks_of_code_and_equations_stay_as_they_are() -> None:
    lines = [
        "As follows::",
        "",
        "    |x| * (*S)",
        "",
        "    |y|",
        "back: |z|",
        ".. math:: |x|",
        "",
        "|x|",
    ]
    kept = [*lines[:5], r"back: \|z\|", *lines[6:8], r"\|x\|"]
    assert list(prose.escaped(lines)) == kept
