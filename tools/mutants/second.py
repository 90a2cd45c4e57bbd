"""The second set: chosen after the first one's gaps were closed, before a look at the tests."""

from __future__ import annotations

from tools.mutants.planting import Mutant

SECOND: list[Mutant] = []
