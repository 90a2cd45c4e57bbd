"""What a command is doing: a bar on a terminal; else, as into a log, a line now and then."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

FIRST, EVERY = 10.0, 60.0
"""Seconds to the first line, and from line to line, where stderr is no terminal."""


@contextmanager
def progress(total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show what is done within the block, on stderr.

    Parameters
    ----------
    total
        Of how many things; None where that is not known yet.

    Yields
    ------
    Callable
        ``step(what, done=None, total=None)``: what is done now, how many were done before it, and
        of how many.
    """
    with _bar(total) if sys.stderr.isatty() else _lines(total) as step:
        yield step


@contextmanager
def _bar(total: int | None) -> Iterator[Callable[..., None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(
        *columns,
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # lines for a file are no business of the bar's
    ) as bar:
        task = bar.add_task("", total=total)

        def step(what: str, done: int | None = None, total: int | None = total) -> None:
            bar.update(task, description=what, total=total, completed=done or 0)

        yield step


@contextmanager
def _lines(total: int | None) -> Iterator[Callable[..., None]]:
    """Print what is being done after `FIRST` seconds, and each `EVERY` seconds then."""
    state, over = {"text": "starting"}, threading.Event()
    began = time.monotonic()

    def step(what: str, done: int | None = None, total: int | None = total) -> None:
        state["text"] = what if done is None or not total else f"{what} ({done} of {total} done)"

    def watch() -> None:
        wait = FIRST
        while not over.wait(wait):
            passed = time.monotonic() - began
            print(f"ppl: {state['text']}, {passed:,.0f} s", file=sys.stderr, flush=True)
            wait = EVERY

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield step
    finally:
        over.set()
        watcher.join(timeout=5)
