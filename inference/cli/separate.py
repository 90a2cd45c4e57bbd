"""``ppl separate``: one recording into its sources, from a shell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inference.cli.copying import Skipping, named, require_audio, resumable
from inference.cli.progress import progress
from inference.cli.separate_jobs import (
    PICTURE,
    RECORD,
    Mixture,
    batches,
    check_places,
    read_mixture,
    write_answer,
)
from inference.cli.several import TakesSources, listed
from inference.cli.speech import Channel, Overwrite, Resample, Seed, SkipErrors
from inference.cli.speech_jobs import Copy, copies_of, left_to_do, mark, read_channel, sum_up
from ppl_models.errors import InputError

if TYPE_CHECKING:
    from inference.tasks.separation import Separated
    from ppl_models.data.stft import STFT


class Share(StrEnum):
    """How sources share a bin of the mixture's spectra."""

    own = "own"
    add = "add"


def register(app: typer.Typer) -> None:
    """Add the command of this file to ``ppl``."""
    app.command(cls=TakesSources)(separate)


def separate(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="MIX.wav|FOLDER...", help="Mixtures, or folders.")
    ],
    sources: Annotated[
        list[str],
        typer.Option(metavar="SOURCE...", help="Names that ship, or runs of `ppl fit-source`."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the answers: one folder a file in it.")],
    share: Annotated[
        Share, typer.Option(help="A bin is one source's own, or all sources add up in it.")
    ] = Share.add,
    seed: Seed = 0,
    resample: Resample = False,
    channel: Channel = None,
    skip_errors: SkipErrors = False,
    overwrite: Overwrite = False,
) -> None:
    """Separate recordings into their sources, of the mixture's rate and length, that add up to it.

    Writes SOURCE.wav for each source, posterior.nc and spectrograms.png, to a folder named after
    each file, in the folder given by --out. Answers that are there already are kept: a command
    that was stopped goes on.
    """
    require_audio(False)
    names, one = listed(sources), read_channel(channel)
    if not names:
        raise typer.BadParameter("--sources takes names or runs, saw none")
    copies = copies_of(inputs, out, within=PICTURE)
    from inference.tasks.separation import load_sources

    found = load_sources(names)
    stft = found[0].stft
    check_places(copies, [source.name for source in found])
    how: dict[str, Any] = {"share": share.value, "seed": seed}
    reading = {"resample": resample, "channel": one}
    made = {"sources": names, "files": [mark(s.path) for s in found], **how, **reading}
    todo = left_to_do(copies, out, made, overwrite, RECORD)
    skipping, written = Skipping(skip_errors), list[Path]()
    with resumable(copies, out, written), progress(len(copies)) as step:
        done = 0
        for batch in batches(copies):
            how["progress"] = partial(_tell, step, batch, done)
            how["progress"]()
            if any(copy.target in todo for copy in batch):
                for copy, mixture, answer in _separated(batch, names, stft, how, reading, skipping):
                    if copy.target in todo:
                        with skipping.guard():
                            written += _write(copy, mixture, answer, stft)
            done += len(batch)
    sum_up(len(copies), len(copies) - len(todo), skipping.errors, [])


def _tell(
    step: Callable[..., None], batch: Sequence[Copy], done: int, at: int = 0, of: int = 0
) -> None:
    """Show which recordings are separated, and how far that is."""
    names = ", ".join(copy.source.name for copy in batch[:3]) + " ..." * (len(batch) > 3)
    step(f"{names}: iteration {at} of {of}" if of else names, done)


def _separated(
    batch: Sequence[Copy],
    names: Sequence[str],
    stft: STFT,
    how: dict[str, Any],
    reading: dict[str, Any],
    skipping: Skipping,
) -> Iterator[tuple[Copy, Mixture, Separated]]:
    """Separate those recordings of a batch that can be read."""
    from inference.tasks.separation import separate_many

    mixtures = {}
    for copy in batch:
        with skipping.guard():
            mixtures[copy] = read_mixture(copy.source, stft.rate, **reading)
    waves = [mixture.heard.wave for mixture in mixtures.values()]
    try:
        with named([copy.source for copy in mixtures]):
            answers = separate_many(waves, names, **how) if waves else []
    except InputError as error:
        if len(mixtures) > 1 and skipping.allowed:  # one by one: the others can be separated
            for copy in mixtures:
                yield from _separated([copy], names, stft, how, reading, skipping)
            return
        with skipping.guard():
            raise error
        return
    for (copy, mixture), found in zip(mixtures.items(), answers, strict=True):
        yield copy, mixture, found


def _write(copy: Copy, mixture: Mixture, found: Separated, stft: STFT) -> list[Path]:
    """Write an answer, print its line, and return its files."""
    files = write_answer(copy, mixture, found, stft)
    typer.echo(_line(copy, mixture, found))
    return files


def _line(copy: Copy, mixture: Mixture, found: Separated) -> str:
    """Say where the sources of a recording are, and how much of its power each has."""
    head = f"{copy.source} -> {copy.target.parent}/"
    if not mixture.heard.wave.any():
        return f"{head}  silence"
    power = found.waves.detach().square().sum(-1)
    shares = (100 * power / power.sum()).tolist()
    parts = (f"{name} {share:.0f} %" for name, share in zip(found.names, shares, strict=True))
    return f"{head}  {', '.join(parts)} of the power"
