"""Generated files follow the registry."""

from __future__ import annotations

import re

import pytest

from inference.cli.catalogue import STORIES
from tools import tables


@pytest.mark.parametrize("path", [path for path, _ in tables.wanted()], ids=lambda p: p.name)
def test_generated_files_are_in_step_with_the_registry(path: tables.Path) -> None:
    assert path.read_text() == dict(tables.wanted())[path], "run python -m tools.tables"


def test_the_page_of_models_lists_each_of_them_once() -> None:
    page = (tables.ROOT / "docs/models.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == [row.name for row in STORIES]


def test_a_new_row_adds_its_line_to_the_stub_and_keeps_the_others() -> None:
    stub = "from .errors import InputError as InputError\nfrom .vae import VAE as VAE\n"
    lines = tables.with_exports(stub, "ppl_models").splitlines()
    assert "from .errors import InputError as InputError" in lines
    assert "from .dvae import SRNN as SRNN" in lines  # by the room's door, not its inner file
    assert len(lines) == len(set(lines))


def test_a_family_without_models_is_an_error() -> None:
    with pytest.raises(ValueError, match="no model of the family Nonsense"):
        tables.table(["Nonsense"])
