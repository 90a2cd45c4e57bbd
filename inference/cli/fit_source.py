"""``ppl fit-source``: train a source of sound, from a shell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from inference.cli.copying import require_audio
from inference.cli.speech import Channel, Resample, Seed, SkipErrors
from inference.cli.speech_jobs import check_folder_name, read_channel


def register(app: typer.Typer) -> None:
    """Add the command of this file to ``ppl``."""
    app.command(name="fit-source")(fit_source)


def fit_source(
    folder: Annotated[Path, typer.Argument(help="Recordings of this kind of sound alone.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; `--sources` takes it.")],
    architecture: Annotated[str, typer.Option(help="One of the dynamical VAE family.")] = "RVAE",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the data.", show_default="the recipe's")
    ] = None,
    seed: Seed = 0,
    resample: Resample = False,
    channel: Channel = None,
    skip_errors: SkipErrors = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that stopped.")
    ] = False,
) -> None:
    """Train a source for `ppl separate` on a folder: an instrument, a machine, a voice.

    All recordings are trained on; nothing is cut off at their ends. The source is named as the
    folder of the run.
    """
    require_audio(False)
    check_folder_name(out)
    one = read_channel(channel)
    from inference.tasks.separation import fit_source as fit

    try:
        path = fit(
            folder,
            out,
            architecture=architecture,
            seed=seed,
            epochs=epochs,
            resume=resume,
            resample=resample,
            channel=one,
            on_error="skip" if skip_errors else "raise",
            tell=lambda line: typer.echo(line, err=line.startswith("skipped")),
        )
    except KeyboardInterrupt:
        if out.is_dir():
            typer.echo("stopped early; the same command with --resume goes on", err=True)
        raise
    typer.echo(f"saved: {path}")
