"""One trial: a copy of the code with an error in it, and the tests that might notice.

Tests run in three stages, each only if the one before noticed nothing: the test file of the same
name; the other files that name something of the module; the whole quick suite. A failure counts
only if the test that failed passes on the code without the error.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from tools.mutants.planting import Mutant, planted

STAGES = ("mirror", "named", "suite")
ALWAYS = ("tests/tools/test_defaults.py",)
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


def copy_of(root: Path, commit: str, into: Path) -> None:
    """Put the files of a commit into a folder."""
    archive = subprocess.run(
        ["git", "archive", commit], cwd=root, check=True, capture_output=True
    ).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as files:
        files.extractall(into, filter="data")


def mirror(root: Path, file: str) -> list[str]:
    """Return the test file of the same name, if there is one; else the folder's."""
    path = Path("tests", file)
    own = path.with_name(f"test_{path.name}")
    return [str(own)] if (root / own).exists() else []


def public_names(path: Path) -> set[str]:
    """Return the public classes and functions of a module, the methods of classes apart."""
    definitions = ast.parse(path.read_text()).body
    kinds = ast.ClassDef, ast.FunctionDef
    return {node.name for node in definitions if isinstance(node, kinds) and node.name[0] != "_"}


def imported(path: Path) -> set[str]:
    """Return the names that a file imports."""
    nodes = ast.walk(ast.parse(path.read_text()))
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    return {alias.name for node in froms for alias in node.names}


def naming(root: Path, file: str) -> list[str]:
    """Return the test files that import something a module defines, the mirror apart."""
    names, own = public_names(root / file), mirror(root, file)
    tests = sorted((root / "tests").rglob("test_*.py"), key=lambda p: p.stat().st_size)
    found = [str(path.relative_to(root)) for path in tests if names & imported(path)]
    return [name for name in found if name not in own]


def stages(root: Path, file: str) -> Iterator[tuple[str, list[str]]]:
    """Yield what to run, stage by stage."""
    always = [name for name in ALWAYS if (root / name).exists()]
    chosen = [*always, *mirror(root, file)], naming(root, file), ["tests"]
    for stage, tests in zip(STAGES, chosen, strict=True):
        if tests:
            yield stage, tests


def run_tests(root: Path, tests: list[str], seconds: float) -> tuple[int, str, str]:
    """Run the quick tests until one fails; return pytest's status, that test, and the end."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow", "--no-header"]
    command += ["-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    environment |= {"MPLBACKEND": "Agg", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return -1, "", f"no end within {seconds:g} s"
    failed = _FAILED.search(done.stdout)
    return done.returncode, failed[1] if failed else "", done.stdout[-800:]


def try_one(root: Path, mutant: Mutant, last: str, seconds: float) -> dict[str, Any]:
    """Plant an error in a copy, run the stages up to ``last``, and take it out again."""
    path, began = root / mutant.file, time.monotonic()
    clean = path.read_text()
    result: dict[str, Any] = {"noticed": False, "by": "", "stage": ""}
    try:
        for stage, tests in stages(root, mutant.file):
            path.write_text(planted(clean, mutant))
            status, test, end = run_tests(root, tests, seconds)
            result["stage"] = stage
            path.write_text(clean)
            if status not in (0, 5):
                if stage != "suite" or _passes(root, test, seconds):
                    result |= {"noticed": True, "by": test or end}
                    break
                result["doubt"] = test or end
            if stage == last:
                break
    finally:
        path.write_text(clean)
    return {**result, "seconds": round(time.monotonic() - began, 1)}


def _passes(root: Path, test: str, seconds: float) -> bool:
    """Whether a test passes on the code as it is; an error without a test is taken at its word."""
    return not test or run_tests(root, [test], seconds)[0] == 0
