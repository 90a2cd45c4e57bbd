"""The error for data and settings that cannot be used: what was found, expected, and the cure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Data or a setting that a model or a task cannot use.

    Parameters
    ----------
    argument
        What is wrong: the name of an argument, a file, or a line of one.
    found
        What was found there.
    expected
        What would have been right.
    cure
        What the user can do.

    Notes
    -----
    Pyro raises a copy of a model's error, as ``type(error)(text)``, with the trace's shapes below
    the text: such a copy has the text alone as ``argument``, and the original as ``__cause__``.
    """

    def __init__(self, argument: str, found: str = "", expected: str = "", cure: str = "") -> None:
        self.argument, self.found, self.expected, self.cure = argument, found, expected, cure
        super().__init__(argument, found, expected, cure)  # args, so that the error pickles

    def __str__(self) -> str:
        if not self.found:
            return self.argument
        found = f"{self.argument}: saw {self.found}"
        return f"{found}\n  expected: {self.expected}\n  cure: {self.cure}"


def original(error: BaseException) -> BaseException:
    """Return the error that was first raised, where others of its type only raised a copy of it.

    A copy has a text alone; an error that says more than its cause (which file it was) is none.
    """
    while type(error.__cause__) is type(error) and not getattr(error, "found", ""):
        error = error.__cause__
    return error


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """Return the error for a name that is none of the ``known``, with the nearest of these."""
    names = sorted(known)
    folded = {known_name.lower(): known_name for known_name in names}
    near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
    cure = f"did you mean {folded[near[0]]}?" if near else "take one of these"
    return InputError(what, repr(name), "one of " + ", ".join(names), cure)
