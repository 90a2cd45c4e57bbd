from __future__ import annotations

import math

import pytest

from inference.training.em import fit_em


class Stub:
    """Climbs to zero, halving what is left; or falls off."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def em_step(self, scale: float) -> float:
        return scale * self.values.pop(0)


def test_it_stops_once_steps_are_small() -> None:
    model = Stub(-10, -5, -4, -3.9999999, -3)
    assert fit_em(model, 1.0) == [-10, -5, -4, -3.9999999]
    assert fit_em(Stub(-4, -4, -4), 2.0, steps=2, tolerance=0) == [-8, -8]


def test_what_cannot_go_on_is_said() -> None:
    with pytest.raises(ValueError, match="nan before step 2"):
        fit_em(Stub(-1, math.nan), 1.0)
    with pytest.raises(ValueError, match="steps is 0"):
        fit_em(Stub(), 1.0, steps=0)
