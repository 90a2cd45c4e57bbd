"""One column of a table: its name, and what kind of values it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ppl_models.errors import InputError, unknown
from ppl_models.inputs import check_count

KINDS = ("real", "positive", "count", "binary", "categorical", "ordinal", "censored")
CONTINUOUS = ("real", "positive", "censored")
"""Kinds whose draws are differentiable functions of noise."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    name : str
    kind : str
        One of `KINDS`.
    levels : tuple of str
        Names of the classes: two of a binary column (by default "0" and "1"), two or more of a
        categorical or an ordinal one, in the order of their numbers 0, 1, ...
    lower, upper : float, optional
        Limits of a censored column: a value of ``upper`` or more means "at least upper", one of
        ``lower`` or less "at most lower".
    unit : str
        Of the numbers, for axes and messages.

    Raises
    ------
    InputError
        An unknown kind, or levels or limits that do not go with it.
    """

    name: str
    kind: str = "real"
    levels: tuple[str, ...] = ()
    lower: float | None = None
    upper: float | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("kind", str(self.kind), KINDS)
        levels = tuple(self.levels) or (("0", "1") if self.kind == "binary" else ())
        object.__setattr__(self, "levels", levels)
        self._check_levels()
        self._check_limits()

    @property
    def num_classes(self) -> int:
        """How many classes or levels there are; 0 of a column of numbers."""
        return len(self.levels)

    def _check_levels(self) -> None:
        found = f"{len(self.levels)} levels of {self.name!r}"
        if self.kind == "binary" and len(self.levels) != 2:
            cure = 'name both, or take kind="categorical"'
            raise InputError("levels", found, "two of a binary column", cure)
        if self.kind in ("categorical", "ordinal") and len(self.levels) < 2:
            cure = 'name the classes: levels=("low", "middle", "high")'
            raise InputError("levels", found, f"two or more of a column {self.kind}", cure)
        if self.levels and self.kind not in ("binary", "categorical", "ordinal"):
            cure = 'leave them out, or take kind="ordinal" or "categorical"'
            raise InputError("levels", found, f"none: it is {self.kind}", cure)

    def _check_limits(self) -> None:
        lower, upper = self.lower, self.upper
        found = f"lower={lower}, upper={upper} of {self.name!r}"
        if self.kind != "censored" and (lower, upper) != (None, None):
            cure = 'leave them out, or take kind="censored"'
            raise InputError("lower, upper", found, f"none: it is {self.kind}", cure)
        if self.kind == "censored" and (
            (lower, upper) == (None, None)
            or (lower is not None and upper is not None and lower >= upper)
        ):
            cure = 'give the value that means "at least": upper=110.0, or take kind="real"'
            raise InputError("lower, upper", found, "a limit, the lower below the upper", cure)


def check_columns(columns: Sequence[Column] | int) -> tuple[Column, ...]:
    """Return the columns of a table; for a number D, the real ones x1 to xD.

    Raises
    ------
    InputError
        No column, something else than columns, or two of one name.
    """
    if isinstance(columns, int):
        check_count("columns", columns)
        return tuple(Column(f"x{d}") for d in range(1, columns + 1))
    found = tuple(columns) if isinstance(columns, Sequence) else ()
    if not found or not all(isinstance(column, Column) for column in found):
        cure = 'Columns([Column("age"), Column("sex", "binary")]), or a number of real columns'
        raise InputError("columns", repr(columns), "a sequence of Column, or a number", cure)
    names = [column.name for column in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        cure = "give every column a name of its own"
        raise InputError("columns", f"{twice[0]!r} more than once", "different names", cure)
    return found
