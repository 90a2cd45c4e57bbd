"""All defaults and constants of the three packages, as text: ``python -m tools.defaults``.

A default is part of what users get without asking. The list, `tests/defaults.txt`, is written by
this command and compared by a test, so that none changes by accident: who changes one on purpose
writes the list again, sees the line in the difference, and says so in the CHANGELOG.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("ppl_models", "guides", "inference")
LIST = Path("tests", "defaults.txt")
_CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*")
_LONGEST = 300  # characters: longer constants are tables of text, with tests of their own


def written(root: Path = Path()) -> str:
    """Return the list: a line for each callable that has defaults, and for each constant."""
    files = sorted(path for name in PACKAGES for path in (root / name).rglob("*.py"))
    lines = []
    for path in files:
        file = path.relative_to(root).as_posix()
        lines += [f"{file}: {line}" for line in _lines(ast.parse(path.read_text()), "")]
    return "\n".join([*lines, ""])


def _lines(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[str]:
    """Yield the lines of a module or class, what is inside its classes included."""
    fields = isinstance(node, ast.ClassDef) and any(
        "dataclass" in ast.unparse(d) for d in node.decorator_list
    )
    for part in node.body:
        if isinstance(part, ast.ClassDef):
            yield from _lines(part, f"{prefix}{part.name}.")
        elif isinstance(part, ast.FunctionDef) and (defaults := _defaults(part.args)):
            yield f"{prefix}{part.name}({', '.join(defaults)})"
        elif isinstance(part, ast.Assign | ast.AnnAssign) and part.value is not None:
            target = part.targets[0] if isinstance(part, ast.Assign) else part.target
            name, value = ast.unparse(target), ast.unparse(part.value)
            if (fields or _CONSTANT.fullmatch(name)) and len(value) <= _LONGEST:
                yield f"{prefix}{name} = {value}"


def _defaults(arguments: ast.arguments) -> list[str]:
    """Return the arguments that have a default, with it."""
    placed = [*arguments.posonlyargs, *arguments.args]
    pairs = [*zip(placed[::-1], arguments.defaults[::-1], strict=False)][::-1]
    pairs += [(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d]
    return [f"{argument.arg}={ast.unparse(default)}" for argument, default in pairs]


if __name__ == "__main__":
    LIST.write_text(written())
