"""Optional arguments that no test gives another value: ``python -m tools.options``.

An option is tried if a test file that imports its owner (or is the module's mirror) passes it, by
name or in its place, a value whose text is not that of the default; or has it as a key of a dict,
which tests pass on with ``**``. What the text cannot show (values that come through a fixture, or
through another function) is listed by hand in ``tests/tools/test_options.py``.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("ppl_models", "guides", "inference")
INSIDE = ("inference/cli/", "inference/tracing/", "inference/checking/")
"""What is tried through commands, and through the functions that stand on them."""
PASSED_ON = {"sample_shape", "_instance", "expand", "args", "kwargs"}  # by Pyro and torch


class Option(NamedTuple):
    """An optional argument of a public callable."""

    file: str
    owner: str
    """The name that a caller writes: of the class, the function, or the method."""
    place: int | None
    """Its place among positional arguments; None if it is given by name alone."""
    name: str
    default: str

    @property
    def key(self) -> str:
        """How the list calls it."""
        return f"{self.file}: {self.owner}({self.name}={self.default})"


class Use(NamedTuple):
    """What one test file does."""

    imported: frozenset[str]
    called: dict[str, list[list[str]]]
    """By the last name of what is called, the texts of positional arguments, call by call."""
    named: dict[str, set[str]]
    """By the name of an argument, the texts that it is given; a dict's keys are names too."""


def options(root: Path) -> Iterator[Option]:
    """Yield the optional arguments of public functions, classes and methods."""
    for path in sorted(p for name in PACKAGES for p in (root / name).rglob("*.py")):
        file = path.relative_to(root).as_posix()
        if not file.startswith(INSIDE):
            yield from _options(ast.parse(path.read_text()).body, file, "")


def untried(root: Path) -> list[Option]:
    """Return the options to which no test gives another value."""
    uses = {path: _use(path) for path in sorted((root / "tests").rglob("*.py"))}
    found = []
    for option in options(root):
        mirror = root / "tests" / Path(option.file).with_name(f"test_{Path(option.file).name}")
        near = [u for path, u in uses.items() if path == mirror or _knows(u, option)]
        if option.name not in PASSED_ON and not any(_tries(use, option) for use in near):
            found.append(option)
    return found


def _options(body: list[ast.stmt], file: str, owner: str) -> Iterator[Option]:
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name[0] != "_":
            yield from _options(node.body, file, node.name)
        elif isinstance(node, ast.FunctionDef):
            made = node.name == "__init__"
            if made or node.name[0] != "_":
                yield from _of(node, file, owner if made else node.name, bool(owner))


def _of(node: ast.FunctionDef, file: str, owner: str, method: bool) -> Iterator[Option]:
    """Yield the optional arguments of one function."""
    placed = [*node.args.posonlyargs, *node.args.args]
    first = len(placed) - len(node.args.defaults)
    for i, default in enumerate(node.args.defaults, first):
        yield Option(file, owner, i - method, placed[i].arg, ast.unparse(default))
    for argument, own in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        if own is not None:
            yield Option(file, owner, None, argument.arg, ast.unparse(own))


def _use(path: Path) -> Use:
    """Read a test file."""
    use = Use(frozenset(), defaultdict(list), defaultdict(set))
    imported = set[str]()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Call):
            name = str(getattr(node.func, "attr", None) or getattr(node.func, "id", ""))
            use.called[name].append([ast.unparse(argument) for argument in node.args])
            for keyword in node.keywords:
                use.named[keyword.arg or ""].add(ast.unparse(keyword.value))
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    use.named[key.value].add(ast.unparse(value))
    return use._replace(imported=frozenset(imported))


def _knows(use: Use, option: Option) -> bool:
    """Whether a test file imports the owner of an option, or calls something of that name."""
    return option.owner in use.imported or option.owner in use.called


def _tries(use: Use, option: Option) -> bool:
    """Whether a test file gives an option another value than its default."""
    if use.named.get(option.name, set()) - {option.default}:
        return True
    place = option.place
    if place is None:
        return False
    calls = (texts for texts in use.called.get(option.owner, ()) if texts)
    given = (texts[place : place + 1] or texts[-1:][: texts[-1][0] == "*"] for texts in calls)
    return any(texts and texts[0] != option.default for texts in given)


if __name__ == "__main__":
    print("\n".join(option.key for option in untried(Path())))
