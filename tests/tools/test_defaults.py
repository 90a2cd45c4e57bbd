from __future__ import annotations

import ast
from pathlib import Path

import tools.defaults as defaults

ROOT = Path(__file__).parents[2]


def test_no_default_or_constant_has_changed_by_accident() -> None:
    """On purpose: ``python -m tools.defaults``, and a line in the CHANGELOG."""
    found = set(defaults.written(ROOT).splitlines())
    known = set((ROOT / defaults.LIST).read_text().splitlines())
    assert found == known, "\n".join(
        [
            "",
            *(f"+ {line}" for line in sorted(found - known)),
            *(f"- {line}" for line in sorted(known - found)),
        ]
    )


def test_defaults_of_functions_methods_and_fields_are_listed() -> None:
    code = """
LEAST = 1e-3
lower = 2
def f(a, b=2, *, c=(1, 2), d): ...
@dataclass(frozen=True)
class Row:
    name: str
    count: int = 3
    def g(self, x=None): ...
class Plain:
    SCALE = 0.5
    count: int = 3
"""
    found = list(defaults._lines(ast.parse(code), ""))
    assert found == [
        *("LEAST = 0.001", "f(b=2, c=(1, 2))", "Row.count = 3", "Row.g(x=None)"),
        "Plain.SCALE = 0.5",
    ]
