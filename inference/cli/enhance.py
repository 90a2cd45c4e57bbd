"""``ppl enhance``: speech out of noise, from a shell."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from inference.cli.copying import (
    Scores,
    check_place,
    copy_each,
    read_recording,
    require_audio,
    to_write,
)
from inference.cli.enhance_jobs import (
    SHOWN,
    find_references,
    noise_run,
    score_line,
    train_noise_in,
    write_enhanced,
)
from inference.cli.speech import Channel, Overwrite, Resample, Seed, SkipErrors
from inference.cli.speech_jobs import Copy, copies_of, mark, read, read_channel

RECORD = "enhance.json"


class Method(StrEnum):
    """How what is known of the noise is found."""

    nmf = "nmf"
    una = "una"
    und = "und"
    unda = "unda"


def register(app: typer.Typer) -> None:
    """Add the command of this file to ``ppl``."""
    app.command()(enhance)


def enhance(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="NOISY.wav|FOLDER...", help="Recordings, or folders.")
    ],
    out: Annotated[Path, typer.Option(help="A file for one recording; else a folder.")],
    method: Annotated[
        Method | None,
        typer.Option(
            help="Noise learned from the recording itself (nmf, una), from a collection (und), "
            "or from both (unda).",
            show_default="nmf; with --model or --train-noise unda",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="A run of --train-noise.", show_default="the one that ships"
        ),
    ] = None,
    train_noise: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Learn noise from these noisy recordings first; keep the run in --model.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="CLEAN.wav|FOLDER", help="Score against clean speech of the same name."
        ),
    ] = None,
    seed: Seed = 0,
    resample: Resample = False,
    channel: Channel = None,
    skip_errors: SkipErrors = False,
    overwrite: Overwrite = False,
) -> None:
    """Take noise out of recordings of speech; what is written has their names, rates and lengths.

    What is there already is kept: a command that was stopped goes on. A recording that cannot be
    used ends it all, unless --skip-errors.
    """
    method = _chosen(method, model, train_noise)
    require_audio(report is not None)
    reading: dict[str, Any] = {"resample": resample, "channel": read_channel(channel)}
    copies = copies_of(inputs, out, (".wav", ".flac"))
    references = find_references(copies, inputs, out, report)
    if train_noise is not None:
        check_place(inputs, out, overwrite)
        model = model or str(noise_run(out))
        train_noise_in(train_noise, Path(model), seed, reading, skip_errors)
    from inference.tasks.enhancement import stft_and_files

    stft, files = stft_and_files(method.value, model)
    how: dict[str, Any] = {"method": method.value, "seed": seed}
    made = {**how, "files": [mark(file) for file in files], **reading}
    todo, folder = to_write(copies, inputs, out, made, overwrite, RECORD)

    def make(copy: Copy, new: bool) -> Scores:
        if new:
            heard = read_recording(copy.source, stft.rate, **reading)
            own = read(copy.source, None, False, reading["channel"]) if resample else heard
            write_enhanced(copy, heard.wave, own, stft, model, how)
        if copy in references:
            return score_line(copy, references[copy], stft.rate, reading["channel"])
        if new:
            typer.echo(f"{copy.source} -> {copy.target}")
        return {}

    copy_each(copies, todo, folder, skip_errors, make, report is not None, SHOWN)


def _chosen(method: Method | None, model: str | None, train_noise: Path | None) -> Method:
    """Return the method, the default that makes use of the other options, and refuse what is not.

    Raises
    ------
    BadParameter
        A method that learns from the recording alone, and a collection, or a run of one.
    """
    given = [n for n, x in (("--train-noise", train_noise), ("--model", model)) if x is not None]
    if method is None:
        return Method.unda if given else Method.nmf
    if given and method in (Method.una, Method.nmf):
        words = f"{given[0]}, of which --method {method.value} makes no use: take unda or und"
        raise typer.BadParameter(words)
    return method
