"""What Pyro, torch or the user's own code have against a pair, said in our words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample

from inference.errors import PairError
from ppl_models.errors import InputError

# Words in what Pyro says, and the cure.
_CURES = (
    ("collide at dim", "write dim= in both plates, a dim each: dim=-1, dim=-2, ..."),
    ("duplicate plate", "give each plate a name of its own, and do not nest a plate in itself"),
    ("Shape mismatch inside plate", "make dims on the right part of one event by .to_event(...)"),
    ("invalid log_prob shape", "use .to_event(...), or a plate for that dim"),
    ("plate stack overflow", "use fewer plates, or raise max_plate_nesting"),
    (
        "Multiple sample sites named",
        "give each site a name of its own, as f'z_{t}' in a loop; a plate that is entered twice is "
        "made once: data = pyro.plate('data', n), then `with data:`",
    ),
    ("tree-structured plate nesting", "turn one of the two plates into a loop"),
    ("Enumeration dim conflict", "raise the history of pyro.markov"),
    ("global pyro.param", "write self.name = PyroParam(...) in __init__, not pyro.param"),
    ("not support GuideMessenger", "use an AutoGuide such as AutoNormal, or write the guide"),
    ("missing specification of has_rsample", "write has_rsample= in the guide's pyro.factor"),
    ("more global than guide enumeration", "enumerate these sites in the guide too"),
)
_LOOK = "look at the line that raised this, below"
_KNOWN = (ValueError, RuntimeError, TypeError, IndexError, KeyError, NotImplementedError)


class _Progress(Messenger):
    """Remembers the site that is being drawn, or the last one that was."""

    def __init__(self) -> None:
        super().__init__()
        self.site: str | None = None

    def _pyro_sample(self, msg: Any) -> None:
        if not site_is_subsample(msg):
            self.site = msg["name"]


@contextmanager
def translated(doing: str, cure: str = _LOOK) -> Iterator[None]:
    """Turn what Pyro, torch or the user's own code raise into a `PairError` that names the site."""
    progress = _Progress()
    try:
        with progress:
            yield
    except _KNOWN as error:
        own = _own_error(error)
        if own is not None and own.cure == _LOOK != cure:  # who called knows better
            raise PairError(own.args[0], own.args[1], "no error", cure) from error
        if own is not None:
            raise own from None
        raise _translate(error, doing, progress.site, cure) from error


def _own_error(error: BaseException | None) -> PairError | InputError | None:
    """An error of ours that Pyro's trace handler wrapped, or failed to wrap."""
    while error is not None:
        if isinstance(error, PairError | InputError) and error.cure:
            return error
        error = error.__cause__ or error.__context__
    return None


def _translate(error: Exception, doing: str, last: str | None, cure: str) -> PairError:
    text = str(error).split("Trace Shapes:")[0].strip()
    named = re.search(r"""(?:at (?:model |guide )?sites?|sites named) ['"]?([\w.]+)""", text)
    site = named.group(1) if named else last
    doing += "" if named or last is None else f", at '{last}' or after it"
    for words, known in _CURES:
        if words in text:
            cure = known
    found = " ".join(text.split())[:500]
    return PairError(site, f"{doing}: {type(error).__name__}: {found}", "no error", cure)
