"""Every example in a docstring runs, and prints what it says."""

from __future__ import annotations

import doctest
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ppl_models
from tests.docstring_names import CORPORA, EXACT, NAMES

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
if not DATA.is_dir():  # a worktree lies deeper
    DATA = Path("/work/shared/data")
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


class Alike(doctest.OutputChecker):
    """Takes any output where an example names none; where ``masked``, any numbers."""

    def __init__(self, masked: bool) -> None:
        self.masked = masked

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        if not want:
            return True
        if self.masked:
            want, got = (re.sub(r"-?\d+(\.\d+)?(e-?\d+)?|nan|inf", "#", t) for t in (want, got))
            got = re.sub(r"np\.\w+\((#)\)", r"\1", got)
        return super().check_output(want, got, optionflags)


def _modules() -> list[Any]:
    """Return the modules with an example, by their dotted names; those with real data as slow."""
    rooms = ("ppl_models", "guides", "inference")
    found = (p for room in rooms for p in (ROOT / room).rglob("*.py"))
    with_one = sorted(p for p in found if ">>>" in p.read_text(encoding="utf-8"))
    names = (p.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for p in with_one)
    slow = pytest.mark.slow
    short = [name.removesuffix(".__init__") for name in names]
    return [pytest.param(n, marks=slow) if n in CORPORA else n for n in short]


@pytest.mark.parametrize("name", _modules())
def test_the_examples_of_a_module_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in CORPORA.get(name, ()):
        if not (DATA / folder).is_dir():
            pytest.skip(f"real sounds are not there: {DATA / folder}")
        (tmp_path / folder).symlink_to(DATA / folder)
    monkeypatch.chdir(tmp_path)
    module = import_module(name)
    data = {each: getattr(ppl_models.data, each) for each in ppl_models.data.__all__}
    names = {
        "np": np,
        "torch": torch,
        "ppl_models": ppl_models,
        "Path": Path,
        **data,
        **vars(module),
    }
    exec(NAMES.get(name, ""), names)
    runner = doctest.DocTestRunner(Alike(masked=name not in EXACT), optionflags=FLAGS)
    told: list[str] = []
    for test in doctest.DocTestFinder().find(module, name, globs=names):
        runner.run(test, out=told.append)
    assert runner.tries and not runner.failures, "".join(told)
