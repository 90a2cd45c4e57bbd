"""The README's code runs as it is printed there, and its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


@pytest.mark.slow
def test_its_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) >= 3
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert set(names["idata"].posterior.data_vars) == {"brightness"}  # type: ignore[attr-defined]


@pytest.mark.slow
def test_the_twenty_lines_print_what_is_printed_there(capfd: pytest.CaptureFixture[str]) -> None:
    """Words are the same, and numbers up to a last digit that is rounded the other way."""
    code = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)[0]
    told = re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL)[0]
    exec(compile(code, "README.md", "exec"), {})
    printed = re.sub(r"in [\d.]+ s", "in 1 s", capfd.readouterr().out)
    expected = re.sub(r"in [\d.]+ s", "in 1 s", told)
    number = r"-?\d+\.\d*"
    assert re.sub(number, "#", printed).split() == re.sub(number, "#", expected).split()
    values = [[float(n) for n in re.findall(number, text)] for text in (printed, expected)]
    assert values[0] == pytest.approx(values[1], abs=0.11)


def test_the_landing_page_shows_the_same_lines_and_what_they_print() -> None:
    page = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for language in ("python", "text"):
        assert re.search(f"```{language}\n(.*?)```", TEXT, re.DOTALL)[0] in page  # type: ignore[index]


def test_the_figures_of_the_landing_page_are_those_of_the_readme() -> None:
    page = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    measured = page.partition("## What was measured")[2].partition("The commands")[0]
    figures = re.findall(r"-?\d+\.\d+", measured)
    assert len(figures) > 10 and [figure for figure in figures if figure not in TEXT] == []


def test_its_links_lead_to_files() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", TEXT)
    assert links and [link for link in links if not (ROOT / link).exists()] == []


def test_its_commands_exist() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"make ([a-z]+)", TEXT)) <= set(targets)


def test_make_says_where_the_command_is_and_opens_the_lessons() -> None:
    def planned(target: str) -> str:
        command = ["make", "--dry-run", "--always-make", target]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout

    assert "The command is .venv/bin/ppl" in planned("install")
    assert "jupyter lab --notebook-dir=notebooks" in planned("notebook")
    extra = (ROOT / "setup.cfg").read_text().partition("\nnotebooks =")[2].partition("\ndev =")[0]
    assert "jupyterlab" in extra and "ipywidgets" in extra  # the second for tqdm's bars
