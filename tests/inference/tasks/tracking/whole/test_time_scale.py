"""The frame rate of motion drawn from the law, and densities of runs by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.tasks.tracking.whole.law import LINKING, MATCHING, MotionLaw
from inference.tasks.tracking.whole.matching import Matching
from inference.tasks.tracking.whole.time_scale import RATES, USUAL, infer_rate, log_density
from inference.tasks.tracking.whole.video import Video
from ppl_models.data import simulate_scenes
from tests.inference.tasks.tracking.whole.made import boxes_of, drawn, video_of, walk


@pytest.mark.parametrize("rate", [10.0, 30.0])
@pytest.mark.parametrize("law", [MATCHING, LINKING])
def test_the_rate_of_motion_drawn_from_the_law_is_found(law: MotionLaw, rate: float) -> None:
    """Rates are tried in steps of 1.41: a factor of 1.6 is the next one at most."""
    law = replace(law, outliers=0.03)
    length = round(2.5 * rate)  # soon the law takes boxes to sizes that no one has
    boxes = drawn(law, 20, length, rate, seed=2)
    video = Video(boxes, 0, length - 1, (50_000.0, 60_000.0), 25.0)
    found = infer_rate(video, law, Matching())
    assert found in RATES and 1 / 1.6 < found / rate < 1.6


def test_simulated_walkers_at_a_third_of_the_rate_look_slower_filmed() -> None:
    """By more than a factor of 1.4, in the mean of three scenes; the truth is 3."""
    found = {
        rate: [
            np.log(
                infer_rate(Video(s.detections, 1, 60, s.image_size, USUAL), MATCHING, Matching())
            )
            for s in simulate_scenes(3, length=60, fps=rate, people=6, camera="pan", seed=1)
        ]
        for rate in (10, 30)
    }
    assert np.mean(found[30]) - np.mean(found[10]) > np.log(1.4)


def test_nothing_to_see_is_the_usual_rate() -> None:
    for rows in ([], walk(range(1)), walk(range(4))):
        assert infer_rate(video_of(boxes_of(rows), 10), MATCHING, Matching()) == USUAL


def test_densities_of_a_run_are_those_of_its_filter() -> None:
    video = video_of(boxes_of(walk([0, 1, 4, 5], noise=2)), 6)
    rows, total = video.rows, 0.0
    belief, unit = MATCHING.begin(rows.o[:1], rows.unit[:1]), rows.unit[:1]
    for i, gap in ((1, 1), (2, 3), (3, 1)):
        ahead = MATCHING.carry(belief, np.array([gap / 25]), unit)
        variance = ahead.ss + MATCHING.variance(unit)
        total += MATCHING.log_density(rows.o[i : i + 1] - ahead.s, variance, unit).sum()
        belief = MATCHING.learn(ahead, rows.o[i : i + 1], unit)
    run = np.arange(4)
    assert np.isclose(log_density(video, [run], MATCHING), total)
    assert np.isclose(log_density(video, [run, run], MATCHING), 2 * total)
    assert log_density(video, [run[:1]], MATCHING) == 0
