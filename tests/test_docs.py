"""The code of the how-to pages runs as it is printed there, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(p for p in (ROOT / "docs").rglob("*.md") if "lessons" not in p.parts)
HOWTO = [p for p in PAGES if p.parent.name == "howto" and p.stem != "index"]


@pytest.mark.slow
@pytest.mark.parametrize("page", HOWTO, ids=lambda p: p.stem)
def test_the_code_of_a_howto_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert code, "a how-to shows how"
    names: dict[str, object] = {"__name__": "__main__"}
    for block in code:
        exec(compile(block, str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_of_pages_lead_to_files(page: Path) -> None:
    if page.parent.name == "api":  # written when the site is built
        return
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", prose)
    written = [link for link in links if "api/" not in link]
    assert [link for link in written if not (page.parent / link).exists()] == []
