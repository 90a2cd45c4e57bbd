"""One trial: a copy of the code with an error in it, and the tests that might notice.

Tests run in three stages, each only if the one before noticed nothing: the test file of the same
name, and the list of defaults; the other files that import something of the module; the whole
quick suite. A failure counts only if the test passes on the code without the error; one that does
not is left out, and the stage run again.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Collection, Iterator
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import matplotlib
import pyro.infer
import pytest
import scipy.stats
import torch

from tools.mutants.planting import Mutant, planted

STAGES = ("mirror", "named", "suite")
ALWAYS = ("tests/tools/test_defaults.py",)
HEAVY = (matplotlib, pyro.infer, scipy.stats, torch)  # imported once, before the forks
_SOUND, _BROKEN = list[str](), list[str]()  # tests that pass without an error, and that do not
_FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - |$)", re.MULTILINE)


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


def imported(path: Path) -> set[tuple[str, str]]:
    """Return the packages and the names that a file imports from them."""
    nodes = ast.walk(ast.parse(path.read_text()))
    froms = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {(str(n.module).partition(".")[0], alias.name) for n in froms for alias in n.names}


def naming(root: Path, file: str) -> list[str]:
    """Return the tests that import something a module defines, and mirrors of modules that do.

    The mirror of the module itself is left out.
    """
    package, own = file.partition("/")[0], mirror(root, file)
    names = {(package, name) for name in public_names(root / file)}
    users = [p for p in sorted((root / package).rglob("*.py")) if names & imported(p)]
    mirrors = [name for p in users for name in mirror(root, p.relative_to(root).as_posix())]
    tests = sorted((root / "tests").rglob("test_*.py"), key=lambda p: p.stat().st_size)
    found = [str(path.relative_to(root)) for path in tests if names & imported(path)]
    return [name for name in dict.fromkeys([*mirrors, *found]) if name not in own]


def stages(root: Path, file: str, last: str) -> Iterator[tuple[str, list[str]]]:
    """Yield what to run, stage by stage, up to the last one."""
    always = [name for name in ALWAYS if (root / name).exists()]
    chosen = [*always, *mirror(root, file)], naming(root, file), ["tests"]
    wanted = STAGES[: STAGES.index(last) + 1]
    yield from ((s, tests) for s, tests in zip(wanted, chosen, strict=False) if tests)


def run_tests(
    root: Path, tests: list[str], seconds: float, without: Collection[str] = ()
) -> tuple[int, str, str]:
    """Run the quick tests until one fails; return pytest's status, that test, and the end.

    Some tests can be left out. In a process forked from this one, which has imported what takes
    long (torch, Pyro).
    """
    with tempfile.NamedTemporaryFile("r") as output:
        child = get_context("fork").Process(target=_run, args=(root, tests, output.name, without))
        child.start()
        child.join(seconds)
        if child.is_alive():
            child.kill()
            child.join()
            return -1, "", f"no end within {seconds:g} s"
        text = output.read()
    failed = _FAILED.search(text)
    return child.exitcode or 0, failed[1] if failed else "", text[-800:]


def _run(root: Path, tests: list[str], output: str, without: Collection[str]) -> None:
    """Be the child: see the copy and nothing of the code around here, and run pytest."""
    here = {"", os.getcwd()}
    sys.path[:] = [str(root), *(path for path in sys.path if path not in here)]
    for name in [n for n in sys.modules if n.partition(".")[0] == "tools"]:
        del sys.modules[name]
    os.chdir(root)
    os.environ["PYTHONPATH"] = str(root)
    file = os.open(output, os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    options = ["-x", "-q", "-m", "not slow", "--no-header", "--tb=line"]
    options += [f"--deselect={test}" for test in without]
    status = pytest.main([*options, "-p", "no:cacheprovider", "-p", "no:xdist", *tests])
    sys.stdout.flush()
    os._exit(int(status))


def try_one(root: Path, mutant: Mutant, last: str, seconds: float) -> dict[str, Any]:
    """Plant an error in a copy, run the stages up to ``last``, and take it out again."""
    began = time.monotonic()
    result: dict[str, Any] = {"noticed": False, "by": "", "stage": last}
    for stage, tests in stages(root, mutant.file, last):
        if by := _noticing(root, mutant, tests, seconds):
            result |= {"noticed": True, "by": by, "stage": stage}
            break
    return {**result, "seconds": round(time.monotonic() - began, 1)}


def _noticing(root: Path, mutant: Mutant, tests: list[str], seconds: float) -> str:
    """Return a test that fails with the error and passes without it, or how pytest ended."""
    path = root / mutant.file
    clean = path.read_text()
    while True:
        try:
            path.write_text(planted(clean, mutant))
            status, test, end = run_tests(root, tests, seconds, _BROKEN)
        finally:
            path.write_text(clean)
        if status in (0, 5):
            return ""
        if not test or _passes(root, test, seconds):
            return test or end
        _BROKEN.append(test)


def _passes(root: Path, test: str, seconds: float) -> bool:
    """Whether a test passes on the code as it is."""
    if test not in _SOUND and run_tests(root, [test], seconds)[0] == 0:
        _SOUND.append(test)
    return test in _SOUND
