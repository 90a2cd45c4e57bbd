"""The layout of the code in figures: files, lines, functions, circles of imports.

Run ``python -m tools.layout`` (``--root ../other`` for another checkout).
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import grimp
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

PACKAGES = ("ppl_models", "guides", "inference")
LONG_FILE, LONG_FUNCTION = 300, 40


def files(root: Path) -> list[Path]:
    """The modules of the three packages."""
    return sorted(path for name in PACKAGES for path in (root / name).rglob("*.py"))


def num_lines(path: Path) -> int:
    """Lines of a file."""
    return path.read_text().count("\n")


def engine(root: Path) -> list[Path]:
    """Modules of ``inference`` outside its tasks and the command line."""
    inside = (path.relative_to(root / "inference") for path in (root / "inference").rglob("*.py"))
    apart = ("tasks", "cli")
    kept = (p for p in inside if p.parts[0] not in apart and not p.name.startswith("cli"))
    return [root / "inference" / path for path in kept]


def long_functions(paths: list[Path]) -> Iterator[str]:
    """Functions of more than `LONG_FUNCTION` lines, docstrings apart, with their places."""
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1].lineno if ast.get_docstring(node) and node.body[1:] else None
                head = node.body[0].lineno - node.lineno
                length = (node.end_lineno or node.lineno) - (first or node.lineno) + 1
                length += head if first else 0
                if length > LONG_FUNCTION:
                    yield f"{path}:{node.lineno} {node.name} ({length})"


def circles() -> list[list[str]]:
    """Sets of modules that import one another, imports for types alone counted."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    names = sorted(graph.modules)
    index = {name: i for i, name in enumerate(names)}
    pairs = np.array(
        [
            (index[name], index[other])
            for name in names
            for other in graph.find_modules_directly_imported_by(name)
            if other in index
        ]
    )
    matrix = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(len(names),) * 2)
    count, label = connected_components(matrix, directed=True, connection="strong")
    groups = [[names[i] for i in np.flatnonzero(label == k)] for k in range(count)]
    return [group for group in groups if len(group) > 1]


def main() -> None:
    """Print the figures of a checkout."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path.cwd())
    root = parser.parse_args().root.resolve()
    sys.path.insert(0, str(root))
    every, core = files(root), engine(root)
    lengths = [num_lines(path) for path in every]
    found, slow = circles(), list(long_functions(core))
    rows = {
        "files flat in inference/": len(list((root / "inference").glob("*.py"))),
        "circles of imports": len(found),
        "lines of inference/ outside tasks/ and cli/": sum(map(num_lines, core)),
        f"its functions of more than {LONG_FUNCTION} lines, docstrings apart": len(slow),
        f"files of more than {LONG_FILE} lines": sum(n > LONG_FILE for n in lengths),
        "median length of a file, lines": round(median(lengths)),
        "files": len(every),
    }
    for name, value in rows.items():
        print(f"{name:<58}{value:>8,}")
    for line in [*(" <-> ".join(group) for group in found), *slow]:
        print(" ", line)


if __name__ == "__main__":
    main()
