"""The table of idioms and functions, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from inference.errors import PairError
from ppl_models.errors import InputError
from tools.idioms.cells import COLUMNS, asked, chosen, quietly, trained
from tools.idioms.discrete import DISCRETE
from tools.idioms.models import MODELS
from tools.idioms.refused import REFUSED
from tools.idioms.regression import GUIDES
from tools.idioms.truth import Pair

ROWS: dict[str, Any] = {**GUIDES, **MODELS, **DISCRETE, **{n: m for n, (m, _) in REFUSED.items()}}


def cells_of(name: str) -> Iterator[tuple[str, str]]:
    """Yield every function and what it makes of an idiom: "right", "refused: ...", or "-"."""
    pair: Pair = ROWS[name]()
    yield "check", _cell("check", pair)
    try:
        pair = quietly(lambda: trained(pair))
        yield "fit", _cell("fit", pair)
    except (PairError, InputError) as error:
        yield "fit", _refusal(error)
    for column in COLUMNS:
        if column not in ("check", "fit"):
            yield column, _cell(column, pair)


def _cell(column: str, pair: Pair) -> str:
    known = pair.truth(pair.model)
    if not asked(pair, column, known):
        return "-"
    try:
        if isinstance(known.evidence, Tensor):
            known = known.of(quietly(lambda: chosen(pair)))
        quietly(lambda: COLUMNS[column](pair, known))
    except AssertionError as error:
        return f"WRONG: {error}"
    except (PairError, InputError) as error:
        return _refusal(error)
    except Exception as error:
        return f"FAILED: {type(error).__name__}: {str(error)[:300]}"
    return "right"


def _refusal(error: Any) -> str:
    words = getattr(error, "found", str(error)).split(":")[0]
    return f"refused: {words}"


def markdown(rows: dict[str, dict[str, str]]) -> str:
    """Return the table of rows of cells, by idiom and function."""
    lines = ["| idiom | " + " | ".join(f"`{c}`" for c in COLUMNS) + " |"]
    lines.append("|---" * (len(COLUMNS) + 1) + "|")
    for name, cells in rows.items():
        lines.append("| " + " | ".join([name, *(cells[c] for c in COLUMNS)]) + " |")
    return "\n".join(lines)
