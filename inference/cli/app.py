"""The command ``ppl``: the registered models, from a shell.

Exit codes: 0 done; 1 a mistake in the data, the settings or the files, or no room, explained on one
screen; 2 wrong usage of the command; 130 stopped by Ctrl-C, what was done until then is kept.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from subprocess import CalledProcessError
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inference.cli.catalogue import STORIES, find
from inference.cli.enhance import register as register_enhance
from inference.cli.fit_source import register as register_fit_source
from inference.cli.fit_speech import register as register_fit_speech
from inference.cli.separate import register as register_separate
from inference.cli.speech import register as register_speech
from inference.cli.story import Story
from inference.cli.table import register as register_table
from inference.cli.track import register
from inference.cli.video import register as register_video
from inference.cli.words import LARGEST_SEED, USER_ERRORS, finite, is_memory, said
from ppl_models.errors import InputError

if TYPE_CHECKING:
    from inference.cli.story import Data
    from inference.training import Run

INTERRUPTED = 130
MASKS = ("mask", "observed")
DRAWN, SOURCES = (".pdf", ".png", ".svg"), (".gv", ".dot")

app = typer.Typer(
    name="ppl",
    help="Generative models, their guides, and inference: see `ppl stories`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

StoryName = Annotated[
    str, typer.Argument(metavar="MODEL", help="A name from `ppl stories`, in capitals or not.")
]
Seed = Annotated[
    int, typer.Option(min=0, max=LARGEST_SEED, help="The same seed gives the same numbers.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting of the two; may be repeated."),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ppl-models {version('ppl-models')}")
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print it and exit."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error, of any command.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command()
def stories() -> None:
    """List the models: name, guide, source among the project's seeds, and what the model is."""
    rows = [(s.name, s.guide_name, s.source, s.sentence) for s in STORIES]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo("  ".join(cells).rstrip())


@app.command()
def check(
    story: StoryName,
    graph: Annotated[
        Path | None,
        typer.Option(
            help="Draw the model there: .pdf, .png, .svg (by Graphviz); or .gv, its source."
        ),
    ] = None,
    settings: Settings = None,
    seed: Seed = 0,
) -> None:
    """Check a model and its guide on simulated data, and print their sites."""
    entry, chosen = find(story), _parse(settings)
    if graph is not None:
        _check_graph(graph)
    from inference.checking import check as check_pair
    from inference.randomness import seeded

    model, guide, data = entry.example(seed, settings=chosen)
    named: dict[str, Any] = dict(data)
    with seeded(seed):
        report = check_pair(model, guide, **named)
    typer.echo(str(report))
    if graph is not None:
        try:
            report.render(graph)
        except CalledProcessError as error:
            cure = f"choose another place, or draw to {graph.with_suffix('.gv')}"
            raise InputError(
                f"--graph {graph}", f"{error}", "a picture by Graphviz", cure
            ) from error
        typer.echo(f"drawn: {graph}")


@app.command()
def fit(
    story: StoryName,
    data: Annotated[
        Path | None,
        typer.Option(help="A .npy file, a datum a row, or an .npz of the model's arguments."),
    ] = None,
    simulate: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=10_000_000, help="Fit N data that the model simulates."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where the run is kept.", show_default="runs/MODEL")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data.")] = 100,
    batch_size: Annotated[int, typer.Option(min=1, max=2**31 - 1, help="Data a step.")] = 128,
    learning_rate: Annotated[float, typer.Option(callback=finite, help="Of Adam.")] = 1e-3,
    settings: Settings = None,
    seed: Seed = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that stopped.")
    ] = False,
) -> None:
    """Fit a model and its guide to your data, or to data that it simulates."""
    if (data is None) == (simulate is None):
        raise typer.BadParameter("give one of --data FILE and --simulate N")
    entry, chosen = find(story), _parse(settings)
    from inference.training import fit as fit_pair

    directory = out or Path("runs") / entry.name
    given = _read(entry, data) if data else entry.example(seed, simulate or 0, chosen)[2]
    model, guide = entry.pair(given, chosen, seed)
    run = fit_pair(
        model,
        guide,
        given,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        directory=directory,
        resume=resume,
    )
    _keep(run, entry, {**entry.settings(given), **chosen}, directory)


def _keep(run: Run, story: Story, config: dict[str, Any], directory: Path) -> None:
    """Save what was learned, print the run, and say how to go on if it was stopped."""
    from inference.checkpoint import save

    path = directory / "pair.safetensors"
    save(path, {"model": run.model, "guide": run.guide}, model=story.name, config=config)
    typer.echo(str(run))
    typer.echo(f"saved: {path}")
    if run.interrupted:
        typer.echo("stopped early; the same command with --resume goes on", err=True)
        raise typer.Exit(INTERRUPTED)


def _read(story: Story, path: Path) -> Data:
    """Read the user's arrays and compare their names with the model's arguments."""
    from ppl_models.data.arrays import read_arrays
    from ppl_models.errors import unknown

    data = read_arrays(path, first=story.first_argument)
    for name in data:
        if name not in story.arguments and not story.takes_any:
            raise unknown(f"{path}, array", name, story.arguments)
    needed = [name for name, must in story.arguments.items() if must]
    if not data.keys() >= set(needed):
        cure = f"np.savez(file, {', '.join(f'{name}=...' for name in needed)})"
        expected = f"arrays named {', '.join(needed)}"
        raise InputError(str(path), f"arrays named {', '.join(data)}", expected, cure)
    return {name: _typed(path, name, array) for name, array in data.items()}


def _typed(path: Path, name: str, array: Any) -> Any:
    """Return truth values as numbers where they are data, and as they are where they are a mask."""
    import torch

    if name not in MASKS:
        return array.float()
    if not ((array == 0) | (array == 1)).all():
        cure = "np.savez(file, mask=mask.astype(bool), ...)"
        raise InputError(
            f"{path}, array {name!r}", "other numbers", "truth values, or 0 and 1", cure
        )
    return array.to(torch.bool)


def _check_graph(path: Path) -> None:
    """Look at where a graph is to be drawn, before any work."""
    from importlib.util import find_spec
    from shutil import which

    if path.suffix.lower() not in DRAWN + SOURCES:
        known = ", ".join(DRAWN + SOURCES)
        raise typer.BadParameter(f"--graph takes a file {known}; saw {str(path)!r}")
    if find_spec("graphviz") is None:
        cure = "pip install 'ppl-models[graph]'"
        raise InputError("--graph", "no package graphviz here", "the extra [graph]", cure)
    if path.suffix.lower() in DRAWN and which("dot") is None:
        found = "no program `dot` of Graphviz on the PATH"
        cure = f"install Graphviz, or draw to {path.with_suffix('.gv')}, which needs none"
        raise InputError("--graph", found, "Graphviz", cure)
    if not path.parent.is_dir():
        found = f"{path.parent}, which is no folder"
        raise InputError("--graph", found, "a file in a folder that is there", "make the folder")


def _parse(settings: list[str] | None) -> dict[str, Any]:
    """Read NAME=VALUE pairs; a value is a Python literal, or else a word."""
    import ast

    chosen: dict[str, Any] = {}
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        if not (name.isidentifier() and equals and value):
            raise typer.BadParameter(f"--set takes NAME=VALUE, saw {setting!r}")
        try:
            chosen[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            chosen[name] = value
    return chosen


register(app)
register_speech(app)
register_fit_speech(app)
register_separate(app)
register_enhance(app)
register_fit_source(app)
register_video(app)
register_table(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit; a user's mistake is one message, not a traceback."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _interrupts_heard():
            app([argument for argument in arguments if argument != "--debug"])
    except (*USER_ERRORS, RuntimeError) as error:
        if "--debug" in arguments or not (isinstance(error, USER_ERRORS) or is_memory(error)):
            raise
        typer.echo(f"ppl: {said(error)}", err=True)
        sys.exit(1)


@contextmanager
def _interrupts_heard() -> Iterator[None]:
    """Ask again for each Ctrl-C that falls where Python drops exceptions, as imports often do."""
    before, here = sys.unraisablehook, threading.get_ident()

    def hook(dropped: Any) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            return before(dropped)
        ask = partial(signal.pthread_kill, here, signal.SIGINT)  # wakes it from waiting, too
        again = threading.Timer(0.05, ask)  # once the callback is over
        again.daemon = True
        again.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
