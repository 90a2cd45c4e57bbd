"""The error a user's data can raise: it says what was wrong, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Data or a setting that a model or a task cannot use.

    Parameters
    ----------
    argument
        What is wrong: the name of an argument, a file, or a line of one.
    seen
        What was found there.
    expected
        What would have been right.
    cure
        What the user can do.

    Notes
    -----
    Pyro raises an error of a model anew, as ``type(error)(text)``, with the trace's shapes below
    the text: such a copy has the text alone as ``argument``, and the original as ``__cause__``.
    """

    def __init__(self, argument: str, seen: str = "", expected: str = "", cure: str = "") -> None:
        self.argument, self.seen, self.expected, self.cure = argument, seen, expected, cure
        super().__init__(argument, seen, expected, cure)  # args, so that the error pickles

    def __str__(self) -> str:
        if not self.seen:
            return self.argument
        return f"{self.argument}: saw {self.seen}\n  expected: {self.expected}\n  cure: {self.cure}"


def original(error: BaseException) -> BaseException:
    """Return the error that was first raised, where others of its type only raised it anew."""
    while type(error.__cause__) is type(error):
        error = error.__cause__
    return error


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """Return the error for a name that is none of the ``known``, with the nearest of these."""
    names = sorted(known)
    folded = {known_name.lower(): known_name for known_name in names}
    near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
    cure = f"did you mean {folded[near[0]]}?" if near else "take one of these"
    return InputError(what, repr(name), "one of " + ", ".join(names), cure)
