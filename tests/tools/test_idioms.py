from __future__ import annotations

import re

import pytest

from tools.idioms.page import PAGE
from tools.idioms.refused import REFUSED
from tools.idioms.table import ROWS, cells_of

# one of each kind of the table; the others are slow tests
QUICK = [
    "`pyro_method`, both of one module",
    "`deterministic` in a plate",
    "`ImproperUniform` prior",
    "`plate(subsample_size=)`",
    "an enumerated site under `poutine.mask`",
    *REFUSED,
]
OTHERS = [name for name in ROWS if name not in QUICK]


def _as_the_page_says(name: str) -> None:
    written = re.search(rf"^\| {re.escape(name)} \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert written is not None, f"{name}: write it by `python -m tools.idioms --write`"
    assert [word for _, word in cells_of(name)] == written.group(1).split(" | ")


@pytest.mark.parametrize("name", QUICK)
def test_every_function_is_right_about_an_idiom_or_refuses_it(name: str) -> None:
    _as_the_page_says(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_so_it_is_of_all_others(name: str) -> None:
    _as_the_page_says(name)


def test_no_cell_of_the_page_is_wrong() -> None:
    page = PAGE.read_text()
    assert "WRONG" not in page and "FAILED" not in page
    assert all(f"| {name} |" in page for name in ROWS)


@pytest.mark.parametrize(("name", "words"), [(n, w) for n, (_, w) in REFUSED.items()])
def test_what_is_refused_is_refused_by_all_in_the_same_words(name: str, words: str) -> None:
    cells = [word for _, word in cells_of(name) if word != "-"]
    assert len(set(cells)) == 1 and words in cells[0]
