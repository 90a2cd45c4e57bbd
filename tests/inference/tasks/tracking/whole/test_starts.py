"""Intensities against sums over a grid, and where boxes are their own."""

from __future__ import annotations

import numpy as np
import pytest

from inference.tasks.tracking.whole.starts import Surroundings, intensity, later_starts
from tests.inference.tasks.tracking.whole.made import boxes_of, video_of

VIDEO = video_of(boxes_of([(0, 500, 300), (3, 480, 310), (3, 800, 100), (9, 120, 200)]), 10)
STARTS, WEIGHT = VIDEO.rows.o, np.array([1.0, 0.5, 2.0, 1.0])
NEAR = Surroundings()


@pytest.mark.parametrize(
    "near",
    [
        NEAR,
        Surroundings(distance=0.5, log_height=0.2, log_shape=0.4),
        Surroundings(anywhere=1.0),
    ],
)
def test_intensity_integrates_to_the_starts_that_there_are(near: Surroundings) -> None:
    """Kernels by drawing boxes about the starts, with importance weights; error 4 sd at most."""
    rng, count = np.random.default_rng(0), 40_000
    which = rng.integers(4, size=count)
    spread = np.array([120.0, 120.0, 0.6, 0.5])
    o = STARTS[which] + spread * rng.standard_normal((count, 4))
    square = ((o[:, None] - STARTS) / spread) ** 2
    proposal = np.exp(-0.5 * square.sum(-1)).mean(1) / ((2 * np.pi) ** 2 * spread.prod())
    none = intensity(VIDEO, o, STARTS, 0 * WEIGHT, near)
    assert np.allclose(np.exp(none) * 10 * np.exp(-VIDEO.log_anywhere), near.anywhere)
    uniform = near.anywhere * WEIGHT.sum() * np.exp(VIDEO.log_anywhere)
    ratio = (np.exp(intensity(VIDEO, o, STARTS, WEIGHT, near)) * 10 - uniform) / proposal
    error = ratio.std() / np.sqrt(count)
    assert error < 0.1 and abs(ratio.mean() - WEIGHT.sum()) < 4 * error


def test_a_start_does_not_speak_for_itself() -> None:
    own = np.array([0, 1, -1, 3])
    found = intensity(VIDEO, STARTS, STARTS, WEIGHT, NEAR, own)
    for i in range(4):
        kept = np.arange(4) != own[i]
        alone = np.exp(intensity(VIDEO, STARTS[[i]], STARTS[kept], WEIGHT[kept], NEAR)) * 10
        less = 0.05 * (WEIGHT.sum() - WEIGHT[kept].sum()) * np.exp(VIDEO.log_anywhere)
        assert np.isclose(np.exp(found[i]) * 10, alone[0] + less)  # the uniform part keeps all


def test_many_boxes_are_asked_about_in_portions() -> None:
    o = np.tile(STARTS, (100, 1))
    own = np.tile(np.arange(4), 100)
    once = intensity(VIDEO, STARTS, STARTS, WEIGHT, NEAR, np.arange(4))
    assert np.allclose(intensity(VIDEO, o, STARTS, WEIGHT, NEAR, own), np.tile(once, 100))
    assert intensity(VIDEO, o[:0], STARTS, WEIGHT, NEAR).shape == (0,)
    assert np.isfinite(intensity(VIDEO, o, STARTS[:0], WEIGHT[:0], NEAR)).all()


def test_later_starts_are_without_those_of_the_first_frame() -> None:
    runs = [np.array([0, 3]), np.array([1]), np.array([2])]
    assert later_starts(VIDEO, runs).tolist() == [1, 2]
    assert later_starts(VIDEO, []).shape == (0,)
