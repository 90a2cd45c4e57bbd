"""``ppl fit-table`` and ``ppl acquire``: which measurement next, from a shell."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from inference.cli.speech import Overwrite, Seed
from inference.cli.table_jobs import ask, read_observed, show_advice
from inference.cli.table_replay import replay
from inference.cli.words import positive
from ppl_models.errors import InputError

Names = list[str] | None


class Policy(StrEnum):
    """What decides which column is measured next."""

    lookahead = "lookahead"
    variance = "variance"
    information = "information"
    fixed = "fixed"
    random = "random"


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``ppl``."""
    app.command(name="fit-table")(fit_table)
    app.command(name="acquire")(acquire)


def fit_table(
    table: Annotated[
        Path, typer.Argument(metavar="TABLE.csv", help="A row a person, a gap where none is known.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run; `acquire` takes it.")],
    types: Annotated[
        Path | None, typer.Option(help="JSON: kinds of columns that are not to be guessed.")
    ] = None,
    header: Annotated[
        bool | None,
        typer.Option("--header/--no-header", help="Whether the first line has names."),
    ] = None,
    latent: Annotated[
        int | None,
        typer.Option(min=1, help="Numbers of a row's code.", show_default="half the columns, 2-8"),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the rows.", show_default="6,000 steps")
    ] = None,
    seed: Seed = 0,
    accelerator: Annotated[str, typer.Option(help="cpu, gpu, and others of Lightning.")] = "cpu",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that stopped.")
    ] = False,
) -> None:
    """Learn a table with gaps: PartialVAE, whatever its columns are.

    Cells that are empty, NaN, NA, NULL or ? are gaps. Kinds of columns are guessed, and printed:
    real, positive, count, binary, categorical; --types says better, ordinal and censored as well.
    """
    from inference.tasks.acquisition import fit_table as fit
    from ppl_models.data import read_columns

    read = read_columns(table, types=types, header=header)
    typer.echo(str(read))
    try:
        path = fit(
            read.x,
            read.mask,
            out=out,
            columns=read.columns,
            latent_dim=latent,
            epochs=epochs,
            seed=seed,
            resume=resume,
            tell=typer.echo,
            accelerator=accelerator,
        )
    except InputError as error:
        if error.argument not in ("x", "mask"):
            raise
        raise InputError(str(table), *error.args[1:]) from error
    except KeyboardInterrupt:
        if out.is_dir():
            typer.echo("stopped early; the same command with --resume goes on", err=True)
        raise
    typer.echo(f"saved: {path}")


def acquire(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of `ppl fit-table`.")],
    values: Annotated[
        Names, typer.Argument(metavar="NAME=VALUE", help="More of --observed.")
    ] = None,
    observed: Annotated[
        Names, typer.Option(metavar="NAME=VALUE", help="What was measured; more may follow.")
    ] = None,
    replay_file: Annotated[
        Path | None,
        typer.Option("--replay", metavar="TEST.csv", help="Rows to measure again, as in a trial."),
    ] = None,
    policy: Annotated[
        list[Policy] | None,
        typer.Option(help="What decides; in a replay several.", show_default="lookahead"),
    ] = None,
    target: Annotated[
        Names, typer.Option(metavar="NAME", help="What is to be predicted; may be repeated.")
    ] = None,
    known: Annotated[
        Names, typer.Option(metavar="NAME", help="In a replay, known from the start.")
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(min=1, help="Most rows of a replay, by lot.", show_default="20,000"),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Most measurements of a row.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of a replay's answers.")] = None,
    samples: Annotated[int, typer.Option(min=2, help="Draws of the posterior.")] = 200,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Ask for value after value.")
    ] = False,
    tau: Annotated[
        float | None,
        typer.Option(callback=positive, help="Stop once the RMSE, in standard units, is below."),
    ] = None,
    sure: Annotated[float, typer.Option(min=0.05, max=0.95, help="With this probability.")] = 0.8,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Say what is expected of every other column, how sure that is, and what to measure next.

    With --replay, measure each row of a table as if it were not known, and write curve.csv (the
    RMSE over all columns, in standard units, after each measurement), order.csv and pictures.
    """
    from inference.tasks.acquisition import load_table

    trained = load_table(run, argument="RUN")
    chosen = [p.value for p in policy or [Policy.lookahead]]
    targets = tuple(target or ())
    if replay_file is not None:
        if observed or values or interactive:
            raise typer.BadParameter("--replay goes with none of --observed, --interactive")
        if out is None:
            raise typer.BadParameter("--replay needs --out DIR, a folder for its answers")
        replay(
            trained,
            replay_file,
            chosen,
            out,
            targets=targets,
            known=tuple(known or ()),
            rows=rows,
            steps=steps,
            samples=samples,
            tau=tau,
            sure=sure,
            seed=seed,
            overwrite=overwrite,
        )
        return
    for name, given in (
        ("--out", out),
        ("--known", known),
        ("--rows", rows),
        ("--steps", steps),
        ("--overwrite", overwrite),
    ):
        if given:
            raise typer.BadParameter(f"{name} goes with --replay")
    if len(chosen) > 1:
        raise typer.BadParameter("--policy takes one, but with --replay")
    x, mask = read_observed(trained, [*(observed or ()), *(values or ())])
    settings = {"policy": chosen[0], "targets": targets, "samples": samples, "seed": seed}
    if interactive:
        ask(trained, x, mask, tau=tau, sure=sure, **settings)
    else:
        show_advice(trained, x, mask, tau=tau, **settings)
