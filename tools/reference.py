"""Write the pages of the site that follow from the code: ``docs/api``, which git ignores.

A page a room, with the docstrings of the names at its door; and one of the command ``ppl``, by its
own help.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import typer
from typer.core import TyperCommand, TyperGroup

PAGES = Path(__file__).parents[1] / "docs" / "api"
DOORS = {
    "ppl_models": "Generative models",
    "ppl_models.priors": "Priors",
    "ppl_models.likelihoods": "Likelihoods",
    "ppl_models.distributions": "Distributions",
    "ppl_models.networks": "Networks",
    "ppl_models.data": "Data: generators and loaders",
    "ppl_models.dvae": "Dynamical VAEs",
    "ppl_models.video": "Video",
    "ppl_models.mot": "Tracking",
    "ppl_models.audio": "Sound",
    "ppl_models.acquisition": "Tables with gaps",
    "guides": "Guides",
    "inference": "Check, fit, posterior",
    "inference.objectives": "Objectives",
    "inference.training": "Training",
    "inference.diagnostics": "Diagnostics",
    "inference.metrics": "Metrics",
    "inference.enumeration": "Enumeration",
    "inference.tasks": "Tasks",
    "inference.tasks.tracking": "Tracking",
    "inference.tasks.speech": "Speech",
    "inference.tasks.separation": "Separation",
    "inference.tasks.enhancement": "Enhancement",
    "inference.tasks.video": "Video",
    "inference.tasks.acquisition": "Acquisition",
}


def write() -> None:
    """Write the pages that are not as they should be, and remove what is no longer one."""
    PAGES.mkdir(exist_ok=True)
    wanted = dict(pages())
    for old in PAGES.iterdir():
        if old.name not in wanted:
            old.unlink()
    for name, text in wanted.items():
        path = PAGES / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def pages() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each page."""
    shown: set[int] = set()
    for door, title in DOORS.items():
        names = [
            name for name in public(door) if id(getattr(import_module(door), name)) not in shown
        ]
        shown |= {id(getattr(import_module(door), name)) for name in names}
        yield f"{door}.md", _room(door, title, names)
    yield "cli.md", "\n".join(_command_page())


def public(door: str) -> list[str]:
    """Return the classes and functions at a door, in the order of the alphabet."""
    room = import_module(door)
    names = getattr(room, "__all__", None) or [n for n in vars(room) if not n.startswith("_")]
    kept = (types.FunctionType, type)
    values = {name: getattr(room, name) for name in sorted(names, key=str.lower)}
    ours = {n: v for n, v in values.items() if isinstance(v, kept) and _is_ours(v)}
    return list(ours)


def is_foreign(value: object) -> bool:
    """Whether a method is another library's, which wrote it into our class."""
    return getattr(value, "__module__", None) == "matplotlib.artist"


def _is_ours(value: type | types.FunctionType) -> bool:
    return value.__module__.partition(".")[0] in ("ppl_models", "guides", "inference")


def _room(door: str, title: str, names: list[str]) -> str:
    members = f"   :members: {', '.join(names)}\n" if names else "   :no-members:\n"
    return f"# {title}: `{door}`\n\n```{{eval-rst}}\n.. automodule:: {door}\n{members}```\n"


def _command_page() -> Iterator[str]:
    """Yield the lines of the page of the command line."""
    from inference.cli.app import app

    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    yield "# The command `ppl`\n\nWhat each command says of itself (`ppl COMMAND --help`).\n"
    context = typer.Context(root, info_name="ppl")
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        if isinstance(command, TyperCommand) and not command.hidden:
            yield from _command(command, typer.Context(command, parent=context, info_name=name))


def _command(command: TyperCommand, context: typer.Context) -> Iterator[str]:
    usage = command.get_usage(context).removeprefix("Usage: ").strip()
    yield f"## `ppl {context.info_name}`\n\n```sh\n{usage}\n```\n\n{_prose(command.help or '')}\n"
    rows = [row for p in command.get_params(context) if (row := p.get_help_record(context))]
    if rows:
        yield "| option | what it does |\n|---|---|"
        yield from (f"| `{option}` | {_cell(text)} |" for option, text in rows)
    yield ""


def _prose(text: str) -> str:
    return text.replace("\b\n", "").replace("<", "\\<").strip()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "\\<")
