"""What kind of numbers a column of a table holds: said by the user, or guessed from its cells.

A guess is careful: ``real`` unless there is reason for another.

===============  ===============================================================================
kind             guessed where
===============  ===============================================================================
``binary``       two values: 0 and 1; or two words; or any two numbers in 20 rows or more
``categorical``  words, a hundred different ones at most
``count``        whole numbers from 0, most of them small, with a long tail
``positive``     numbers above 0 whose logarithms are less skewed than they are, which is strongly
``real``         all else
===============  ===============================================================================
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppl_models.data.column import KINDS, Column
from ppl_models.errors import InputError, unknown

FloatArray = NDArray[np.float64]
CLASSES = ("binary", "categorical", "ordinal")
MOST_LEVELS = 100
"""Different words in a column that is guessed to be categorical."""
FEW = 20
"""Rows from which a guess can say more than what two words or 0 and 1 say."""

_DATE = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}([T ].*)?|\d{1,2}([/.-])\d{1,2}\2\d{2,4}( .*)?|\d{1,2}:\d\d(:\d\d)?"
)


Types = Mapping[str, str | Mapping[str, Any]]


def read_types(types: Types | str | os.PathLike[str] | None) -> dict[str, dict[str, Any]]:
    """Return what a user says of columns: for each name, fields of `Column`.

    Parameters
    ----------
    types
        ``{"age": "count", "stage": {"kind": "ordinal", "levels": ["I", "II", "III"]}}``, or a
        file with that as JSON.

    Raises
    ------
    InputError
        The file is no such JSON; or an unknown kind or field.
    OSError
        It cannot be read.
    """
    if types is None:
        return {}
    where = "types"
    if isinstance(types, str | os.PathLike):
        where = str(types)
        try:
            types = json.loads(Path(types).read_text(encoding="utf-8"))
        except ValueError as error:
            cure = 'write {"age": "count"}, say'
            raise InputError(where, f"no JSON ({error})", "types as JSON", cure) from error
    if not isinstance(types, Mapping):
        cure = 'write {"age": "count"}, say'
        raise InputError(where, f"a {type(types).__name__}", "a kind for each name", cure)
    return {str(name): _said(f"{where}, {name!r}", said) for name, said in types.items()}


def _said(where: str, said: Any) -> dict[str, Any]:
    """Return the fields of one column, checked."""
    found = {"kind": said} if isinstance(said, str) else dict(said) if _is_map(said) else {}
    known = [field.name for field in fields(Column) if field.name != "name"]
    for field in found:
        if field not in known:
            raise unknown(where, str(field), known)
    if not found or not isinstance(found.get("kind", "real"), str):
        cure = '{"kind": "ordinal", "levels": ["low", "high"]}'
        raise InputError(where, repr(said)[:80], "a kind, or fields of a column", cure)
    if found.get("kind", "real") not in KINDS:
        raise unknown(where, found["kind"], KINDS)
    if "levels" in found:
        found["levels"] = tuple(map(label, found["levels"]))
    kind, limits = found.get("kind"), (found.get("lower"), found.get("upper"))
    if any(x is not None and not isinstance(x, int | float) for x in limits):
        raise InputError(where, f"limits {limits}", "numbers", '{"kind": "censored", "upper": 120}')
    if kind == "censored" and limits == (None, None):
        cure = '{"kind": "censored", "upper": 120}'
        raise InputError(where, "a censored column without limits", "lower or upper", cure)
    return found


def _is_map(said: Any) -> bool:
    return isinstance(said, Mapping)


def guess_numbers(values: FloatArray) -> str:
    """Guess the kind of a column of numbers, of which ``values`` (n,) were observed."""
    distinct = np.unique(values)
    if distinct.tolist() == [0.0, 1.0] or (len(distinct) == 2 and len(values) >= FEW):
        return "binary"
    if len(values) < FEW or len(distinct) < 3:
        return "real"
    whole = bool((values == np.round(values)).all())
    if whole and distinct[0] == 0 and np.median(values) <= 10:
        consecutive = np.isin([1.0, 2.0], distinct).all()  # no coarser scale
        if consecutive and skewness(values) > 1 and values.var() > 0.5 * values.mean():
            return "count"
    if distinct[0] > 0 and skewness(values) > 2:
        if abs(skewness(np.log(values))) < 0.5 * skewness(values):
            return "positive"
    return "real"


def guess_words(where: str, words: list[str], numbers: int) -> str:
    """Guess the kind of a column with ``words``, beside which it has some numbers.

    Raises
    ------
    InputError
        They are dates, or a different word in each row: nothing that can be learned.
    """
    dates = sum(_DATE.fullmatch(word) is not None for word in words)
    if 2 * dates > len(words) + numbers:
        cure = "make numbers of them (days since the first), or take the column out"
        raise InputError(where, f"dates: {words[0]!r}", "numbers, or a few words", cure)
    different = len({label(word) for word in set(words)}) + numbers
    if different > MOST_LEVELS or (different > len(words) / 2 and len(words) >= FEW):
        found = f"{different} different words in {len(words) + numbers} rows: {words[0][:40]!r}"
        cure = 'take the column out; or, if these are classes, types={"NAME": "categorical"}'
        raise InputError(where, found, f"at most {MOST_LEVELS}, each several times", cure)
    return "binary" if different == 2 else "categorical"


def skewness(values: FloatArray) -> float:
    """Return the third moment in standard units; 0 of constant values."""
    centred = values - values.mean()
    spread = np.sqrt((centred**2).mean())
    return float(((centred / spread) ** 3).mean()) if spread > 0 else 0.0


def label(value: Any) -> str:
    """Return the name of a level: 1, 1.0 and "1.0" are the same one."""
    text = str(value).strip()
    try:
        number = float(text) if "_" not in text else np.nan
    except ValueError:
        return text
    if not np.isfinite(number):
        return text
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(number)
