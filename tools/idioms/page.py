"""The page of the docs that holds the table."""

from __future__ import annotations

from pathlib import Path

from tools.idioms.table import markdown

PAGE = Path(__file__).parents[2] / "docs" / "idioms.md"
HEAD = """# Pyro's idioms, and the functions of `inference`

Each row is a way of writing a model or a guide, as Pyro's users do. Each cell is a call of that
function on a small pair of this kind whose answer is known otherwise: a closed form, or a sum over
all values. **right** means that the answer was compared with it and agreed. **refused** means a
`PairError` that names the site, in the same words in every function. A dash: the function makes no
sense there (`sbc` wants a guide that reads its data, `predict` a model with inputs).

Written by `python -m tools.idioms --write`; `tests/tools/test_idioms.py` runs the same cells.

"""


def page(rows: dict[str, dict[str, str]]) -> str:
    """Return the whole page."""
    return HEAD + markdown(rows) + "\n"
