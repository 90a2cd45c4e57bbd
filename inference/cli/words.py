"""What the command says of an error: in the options of the command, and without a traceback."""

from __future__ import annotations

import math
import re

import typer

from inference.errors import CheckpointError, PairError
from ppl_models.data.files import trouble
from ppl_models.errors import InputError, original

LARGEST_SEED = 2**63 - 1
USER_ERRORS = (InputError, PairError, CheckpointError, OSError, MemoryError, ImportError)

_FLAGS = re.compile(r"\b(resume|resample)=True\b")
_VALUES = re.compile(
    r"\b(epochs|batch_size|learning_rate|seed|iterations|objects|min_score|share|method|architecture"
    r"|accelerator)"
    r"=[\"']?([-+.\w]+)[\"']?"
)
_TYPES = re.compile(r"\btypes=(\{.*\})")
_ARGUMENTS = {"directory": "--out", "sources": "--sources", "types": "--types"}
_PHRASES = {
    "call fit as at first": "give the options of the first time",
    "ask for --resample": "give --resample",
    'choose channel=0, 1, or "mix"': "give --channel mix, 0 or 1",
    "pass frames=(1, T)": "give --frames 1:T",
    "read_columns(path, header=False)": "--no-header",
    "(fit(..., clip=1.0))": "(from Python: fit(..., clip=1.0))",
}


def is_memory(error: BaseException) -> bool:
    """Whether an error is the system's, that had no memory left."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and ("not enough memory" in text or "allocate memory" in text)
    )


def said(error: BaseException) -> str:
    """Return what the command says of an error."""
    error = original(error)
    if is_memory(error):
        lines = str(error).splitlines()
        asked = lines[0] if lines else "more than there is"
        return f"memory: saw none left ({asked})\n  cure: take fewer data, frames, objects or sizes"
    if isinstance(error, InputError):
        name, *rest = error.args
        return str(InputError(_ARGUMENTS.get(name, name), *_spoken(rest)))
    if isinstance(error, PairError | CheckpointError):
        name, *rest = error.args
        return str(type(error)(name, *_spoken(rest)))
    if isinstance(error, OSError):
        words, cure = trouble(error)
        return f"{error.filename or 'the system'}: {words}\n  cure: {cure}"
    return str(error)


def in_options(text: str) -> str:
    """Say in options of the command what is said in arguments of functions."""
    text = _FLAGS.sub(r"--\1", text)
    text = _VALUES.sub(lambda found: f"--{found[1].replace('_', '-')} {found[2]}", text)
    text = _TYPES.sub(r"--types TYPES.json, a file with \1", text)
    for python, option in _PHRASES.items():
        text = text.replace(python, option)
    return text


def finite(value: float | None) -> float | None:
    """Refuse NaN and infinity as the value of an option.

    Raises
    ------
    typer.BadParameter
        It is one of them.
    """
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


def _spoken(parts: list[str]) -> list[str]:
    """Say the last part, the cure, in options."""
    return [*parts[:-1], in_options(parts[-1])] if parts else []


def positive(value: float | None) -> float | None:
    """Refuse what is not above 0, NaN and infinity as the value of an option.

    Raises
    ------
    typer.BadParameter
        It is one of them.
    """
    if value is not None and finite(value) is not None and value <= 0:
        raise typer.BadParameter(f"{value} is not above 0")
    return value
