from __future__ import annotations

import numpy as np
import pytest

from inference.diagnostics.sbc_plots import envelope, grid


@pytest.mark.parametrize("count", [100, 1000])
def test_the_band_holds_a_whole_line_as_often_as_it_says(count):
    low, high = envelope(count, 49, 0.95, seed=0)
    rng = np.random.default_rng(1)
    points = grid(50)
    inside = 0
    for _ in range(1000):
        below = np.searchsorted(np.sort(rng.random(count)), points, side="right") / count
        gap = below - points
        inside += bool(((low <= gap) & (gap <= high)).all())
    # 0.95 +- 4.5 standard errors of 1,000 (0.007); counts are discrete, so a little more is held
    assert 0.92 < inside / 1000 < 0.99


def test_the_band_is_symmetric_and_shrinks():
    low, high = envelope(200, 19, 0.95, seed=0)
    assert (low < 0).all() and (high > 0).all()
    assert np.allclose(low, -high[::-1], atol=1e-9)
    assert envelope(2000, 19, 0.95, seed=0)[1].max() < high.max()
