"""Every example in a docstring runs, and prints what it says."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def _modules() -> list[str]:
    """Return the modules with an example, by their dotted names."""
    found = (
        p for room in ("ppl_models", "guides", "inference") for p in (ROOT / room).rglob("*.py")
    )
    with_one = sorted(p for p in found if ">>>" in p.read_text(encoding="utf-8"))
    names = (p.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for p in with_one)
    return [name.removesuffix(".__init__") for name in names]


@pytest.mark.parametrize("name", _modules())
def test_the_examples_of_a_module_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = import_module(name)
    names = {"torch": torch, **vars(module)}
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    told: list[str] = []
    for test in doctest.DocTestFinder().find(module, name, globs=names):
        runner.run(test, out=told.append)
    assert not runner.failures, "".join(told)
