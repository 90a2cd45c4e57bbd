"""Work through many recordings: with a bar, stopped and taken up again, bad files left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from inference.cli.progress import progress
from inference.cli.speech_jobs import LOUD, RECORD, SHOWN, Copy, is_single, left_to_do, read, sum_up
from inference.cli.track_jobs import make_folder
from inference.errors import NonFiniteError
from ppl_models.errors import InputError

if TYPE_CHECKING:
    from ppl_models.data.sound import Sound

Scores = dict[str, float]


class Skipping:
    """What becomes of recordings that cannot be used: the end of it all, or a line each.

    Attributes
    ----------
    allowed : bool
        Whether they may be left out.
    errors : list of InputError
        What was wrong with those that were.
    """

    def __init__(self, allowed: bool) -> None:
        self.allowed = allowed
        self.errors: list[InputError] = []

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Name what is wrong within the block, and go on behind it; if not allowed, raise it."""
        try:
            yield
        except InputError as error:
            if not self.allowed:
                raise
            self.errors.append(error)
            typer.echo(f"skipped: {error}", err=True)


@contextmanager
def resumable(copies: Sequence[Copy], out: Path | None, files: Sequence[Path]) -> Iterator[None]:
    """Say how to go on if the block is stopped; however it ends, keep checksums in ``out``.

    Of those ``files`` that are there then; the list may grow meanwhile.
    """
    try:
        yield
    except KeyboardInterrupt:
        written = sum(copy.target.exists() for copy in copies)
        typer.echo(
            f"stopped: {written} of {len(copies)} are there, each whole; the same command goes on",
            err=True,
        )
        raise
    finally:
        if out is not None:
            keep_sums(out, files)


def copy_each(
    copies: Sequence[Copy],
    todo: set[Path],
    out: Path | None,
    skip_errors: bool,
    make: Callable[[Copy, bool], Scores],
    report: bool = False,
    shown: Mapping[str, str] = SHOWN,
) -> None:
    """Make the copies one by one.

    Parameters
    ----------
    copies, todo
        All of them, and the targets that are to be written.
    out
        Folder of the copies' checksums; None for a single file.
    skip_errors
        Name recordings that cannot be used, and go on.
    make
        Writes a copy, if it is told to, prints its line, and returns its scores.
    report
        Print the means of the scores.
    shown
        Which, and how each is written.

    Raises
    ------
    InputError
        A recording cannot be used, or, with ``skip_errors``, none can.
    """
    rows, skipping = list[Scores](), Skipping(skip_errors)
    targets = [copy.target for copy in copies]
    with resumable(copies, out, targets), progress(len(copies)) as step:
        for done, copy in enumerate(copies):
            step(copy.source.name, done)
            with skipping.guard():
                rows.append(make(copy, copy.target in todo))
    sum_up(len(copies), len(copies) - len(todo), skipping.errors, rows if report else [], shown)


@contextmanager
def named(recordings: Sequence[Path]) -> Iterator[None]:
    """Say of which recordings numbers in the block were that were not finite.

    Raises
    ------
    InputError
        Some were.
    """
    try:
        yield
    except NonFiniteError as error:
        which, found = ", ".join(map(str, recordings)), f"{error.site}: {error.found}"
        cure = "take another model or seed, or leave it out (--skip-errors)"
        raise InputError(which, found, error.expected, cure) from error


def read_recording(
    path: Path, rate: int, resample: bool, channel: int | Literal["mix"] | None
) -> Sound:
    """Read a recording, and say so if it was recorded too loud."""
    sound = read(path, rate, resample, channel)
    if sound.clipped > LOUD:
        warning = f"{sound.clipped:.1%} of its samples are at full scale: it was recorded too loud"
        typer.echo(f"{path}: {warning}", err=True)
    return sound


def keep_sums(out: Path, files: Sequence[Path]) -> None:
    """Write the checksums of those files that are there into the folder."""
    from ppl_models.data.files import add_sums

    there = [file.relative_to(out).as_posix() for file in files if file.exists()]
    if there:
        add_sums(out, there)


def to_write(
    copies: Sequence[Copy],
    inputs: Sequence[Path],
    out: Path,
    made: dict[str, Any],
    overwrite: bool,
    record: str = RECORD,
) -> tuple[set[Path], Path | None]:
    """Return the targets that are to be written, and the folder of their checksums.

    A single file has no such folder, and no record of how it was made.

    Raises
    ------
    InputError
        What is there already was made in another way, or is a single file; unless ``overwrite``.
    """
    if not is_single(inputs, out):
        return left_to_do(copies, out, made, overwrite, record), out
    check_place(inputs, out, overwrite)
    return {out}, None


def check_place(inputs: Sequence[Path], out: Path, overwrite: bool) -> None:
    """Make the folder of what will be written, and try it; before work that takes long.

    Raises
    ------
    InputError
        It cannot be written to; or a single file is there already, unless ``overwrite``.
    """
    single = is_single(inputs, out)
    if single and out.exists() and not overwrite:
        raise InputError("--out", f"{out}, which is there", "a new file", "give --overwrite")
    make_folder(out.parent if single else out)


def require_audio(report: bool) -> None:
    """Say now, not after the work, which package is missing.

    Raises
    ------
    InputError
        One of the extra [audio].
    """
    from importlib.util import find_spec

    names = ("soundfile", *(("pesq", "pystoi") if report else ()))
    if missing := [name for name in names if find_spec(name) is None]:
        cure = "pip install 'ppl-models[audio]'"
        raise InputError("sound", f"no {', '.join(missing)} here", "the extra [audio]", cure)
