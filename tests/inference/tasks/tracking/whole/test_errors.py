"""Laws of errors: what is simulated is found, and what is not said stays as believed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.tasks.tracking.whole.errors import LEAST, ErrorLaw, learn_errors
from inference.tasks.tracking.whole.video import Video
from tests.inference.tasks.tracking.whole.made import boxes_of, video_of, walk

TRUTH = ErrorLaw(white=(0.03,) * 4, lasting=(0.05,) * 4, seconds=0.4, change=(0.6,) * 4)
BELIEVED = ErrorLaw(white=(0.015,) * 4, lasting=(0.02,) * 4, change=(0.3,) * 4)


def drawn(law: ErrorLaw, rate: float, count: int = 30, length: int = 200) -> Video:
    """Detections of objects far apart, 100 high, one a frame each."""
    rng, dt = np.random.default_rng(0), 1 / rate
    unit, shape = np.array([100.0, 100, 1, 1]), (count, 4)
    s = np.tile([0.0, 3e4, np.log(40.0), np.log(100.0)], (count, 1))
    s[:, 0] = 2000.0 * np.arange(count)
    step = np.linalg.cholesky(np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]]))
    z, last, rows = np.zeros(shape), np.array(law.lasting) * rng.standard_normal(shape), []
    rho, lasting, change = np.exp(-dt / law.seconds), np.array(law.lasting), np.array(law.change)
    for t in range(length):
        o = s + unit * (last + np.array(law.white) * rng.standard_normal(shape))
        rows += [(t, *one[:2], *np.exp(one[2:])) for one in o.tolist()]
        push = np.einsum("ij,jnd->ind", step, rng.standard_normal((2, *shape)))
        s, z = s + dt * z + change * unit * push[0], z + change * unit * push[1]
        last = rho * last + np.sqrt(1 - rho**2) * lasting * rng.standard_normal(shape)
    return video_of(boxes_of(rows), length, rate)


def chains_of(video: Video) -> list[np.ndarray]:
    lane = np.round(video.rows.o[:, 0] / 2000).astype(int)
    return [np.flatnonzero(lane == n) for n in range(lane.max() + 1)]


@pytest.mark.parametrize("rate", [10.0, 25.0])
def test_a_law_is_found_again(rate: float) -> None:
    """Of 30 objects in 200 frames, by moments: a quarter off at most, changes of velocity a third.

    Of sizes that change so slowly it is at its least.
    """
    video = drawn(replace(TRUTH, change=(0.6, 0.6, 0.3, 0.3)), rate)
    found = learn_errors(video, chains_of(video), BELIEVED)
    assert found.white == pytest.approx(TRUTH.white, rel=0.25)
    assert found.lasting == pytest.approx(TRUTH.lasting, rel=0.25)
    assert found.change[:2] == pytest.approx(TRUTH.change[:2], rel=0.33)
    assert found.seconds == BELIEVED.seconds and found.bias == BELIEVED.bias


def test_large_errors_of_a_few_boxes_change_little() -> None:
    video = drawn(TRUTH, 25.0)
    before = learn_errors(video, chains_of(video), BELIEVED)
    o, rng = video.rows.o.copy(), np.random.default_rng(1)
    o[rng.random(len(o)) < 0.05, 2] += 0.5
    after = learn_errors(video.moved(o), chains_of(video), BELIEVED)
    assert after.white[2] < 1.5 * before.white[2] and after.lasting[2] < 1.5 * before.lasting[2]


def test_where_little_is_seen_the_prior_stays() -> None:
    video = video_of(boxes_of(walk(range(3))), 3)
    none = learn_errors(video, [], BELIEVED)
    assert np.allclose([none.white, none.change], [BELIEVED.white, BELIEVED.change])
    one = learn_errors(video, [np.array([0])], BELIEVED)
    assert np.allclose(one.lasting, BELIEVED.lasting) and np.allclose(one.white, BELIEVED.white)


def test_boxes_without_errors_leave_a_least_one() -> None:
    video = video_of(boxes_of(walk(range(100))), 100)
    found = learn_errors(video, [np.arange(100)], BELIEVED)
    assert np.allclose(found.white, LEAST[0] * np.array(BELIEVED.white))
    assert (np.array(found.lasting) >= LEAST[1] * np.array(BELIEVED.lasting) * (1 - 1e-9)).all()


def test_a_strong_prior_is_believed_more() -> None:
    video = drawn(TRUTH, 25.0, count=3, length=40)
    weak, strong = (
        learn_errors(video, chains_of(video), replace(BELIEVED, strength=s)) for s in (1e-3, 1e3)
    )
    assert strong.lasting == pytest.approx(BELIEVED.lasting, rel=0.05)
    assert weak.lasting[0] > 1.3 * BELIEVED.lasting[0]
