"""``ppl fit-speech``: train a model of speech, from a shell."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from inference.cli.copying import require_audio
from inference.cli.progress import progress
from inference.cli.speech import Channel, Resample, Seed, SkipErrors
from inference.cli.speech_jobs import read_channel

INTERRUPTED = 130


class Layout(StrEnum):
    """How the files of a corpus lie in its folder."""

    folder = "folder"
    an4 = "an4"
    wsj0 = "wsj0"
    voicebank = "voicebank"


def register(app: typer.Typer) -> None:
    """Add the command of this file to ``ppl``."""
    app.command(name="fit-speech")(fit_speech)


def fit_speech(
    corpus: Annotated[Path, typer.Argument(help="Folder of recordings.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; `--model` takes it.")],
    architecture: Annotated[
        str, typer.Option(help="One of the dynamical VAE family.")
    ] = "LigHTDVAE",
    layout: Annotated[Layout, typer.Option(help="How its files lie there.")] = Layout.folder,
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
    """Train a model of speech on a corpus, by the recipe of the project's own tables.

    One tenth of a folder's utterances is kept back for validation and one for tests; a published
    corpus has its own parts.
    """
    require_audio(False)
    from inference.tasks.speech import recipe_of, save_speech
    from ppl_models.data import corpora

    recipe, one = recipe_of(architecture), read_channel(channel)
    listed = {"folder": corpora.speech_folder}.get(layout.value) or getattr(corpora, layout.value)
    found = listed(corpus)
    typer.echo(str(found))
    with progress() as step:
        step(f"reading {len(found.train)} recordings")
        pieces, skipped = recipe.pieces(
            found.train,
            resample=resample,
            channel=one,
            on_error="skip" if skip_errors else "raise",
        )
    for why in skipped:
        typer.echo(f"skipped: {why}", err=True)
    typer.echo(f"{len(pieces)} pieces of {recipe.piece} frames")
    run = recipe.train(pieces, out, seed=seed, epochs=epochs, resume=resume)
    facts = {"corpus": found.name, "seed": seed, "epochs": run.epochs}
    path = save_speech(out, recipe.design, run.model, run.guide, facts)
    typer.echo(str(run))
    typer.echo(f"saved: {path}")
    if run.interrupted:
        typer.echo("stopped early; the same command with --resume goes on", err=True)
        raise typer.Exit(INTERRUPTED)
