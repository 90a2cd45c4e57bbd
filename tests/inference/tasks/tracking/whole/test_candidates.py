"""Pairs of tracklets that may be one: who is near, in time and in place, and how sure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from inference.tasks.tracking.kalman import IntArray
from inference.tasks.tracking.whole.candidates import HOPELESS, Links, candidates, ends_of
from inference.tasks.tracking.whole.law import LINKING
from inference.tasks.tracking.whole.starts import Surroundings, intensity
from inference.tasks.tracking.whole.video import Video
from tests.inference.tasks.tracking.whole.made import PARTS, boxes_of, same, video_of, walk


def cut(*gap: int, offset: float = 0.0) -> tuple[Video, list[IntArray]]:
    """One who walks for 20 frames, is unseen for ``gap`` frames, and then again walks for 20."""
    after = 20 + sum(gap)
    rows = walk(range(20), noise=1) + walk(range(after, after + 20), 100 + offset, noise=1, seed=1)
    far = walk(range(after, after + 20), 800.0, 100.0)
    video = video_of(boxes_of(rows + far), after + 20)
    x = video.rows.o[:, 0]
    runs = [video.rows.frame < 20, (video.rows.frame >= 20) & (x < 600), x >= 600]
    return video, [np.flatnonzero(run) for run in runs]


def links(video: Video, runs: list[IntArray], longest: float = 2.0) -> Links:
    return candidates(video, runs, np.full(len(runs), 3.0), LINKING, Surroundings(), longest)


def test_only_whoever_is_where_one_was_going_is_a_candidate() -> None:
    found = links(*cut(10))
    assert found.source.tolist() == [0] and found.target.tolist() == [1]
    assert found.gap.tolist() == [11] and found.odds[0] > 3
    assert not len(links(*cut(10, offset=150)).odds)


def test_gaps_are_at_most_as_long_as_asked() -> None:
    video, runs = cut(24)
    assert len(links(video, runs, 1.0).odds) == 1  # 25 frames are a second
    assert not len(links(video, runs, 0.95).odds)
    assert not len(links(video, runs[::-1][:1], 1.0).odds)


def test_odds_fall_with_the_distance_and_none_is_hopeless() -> None:
    odds = [links(*cut(5, offset=d)).odds.max(initial=HOPELESS) for d in (0, 15, 40, 100)]
    assert odds == sorted(odds, reverse=True) and odds[0] > odds[-1]


def test_odds_are_joint_densities_of_place_and_velocity_against_starts() -> None:
    """Of a law with hardly an outlier: two-dimensional normals, coordinate by coordinate."""
    law = replace(LINKING, outliers=1e-12)
    video, runs = cut(10, offset=8)
    worth = np.full(3, 50.0)
    ends = ends_of(video, runs, law)
    found = candidates(video, runs, worth, law, Surroundings(), 2.0)
    unit, begin = ends.unit[:1], ends.begin.take([1])
    ahead = law.carry(ends.end.take([0]), np.array([11 / 25]), unit)
    place = begin.s[0]
    expected = -float(
        intensity(video, place[None], ends.begin.s[[0, 2]], np.ones(2), Surroundings())[0]
    )
    extra = 0.05 * np.exp(video.log_anywhere) / video.length  # the uniform part counts oneself
    expected = -np.logaddexp(-expected, np.log(extra))
    for d in range(4):
        cross = ahead.sz[0, d] + begin.sz[0, d]
        cov = [[ahead.ss[0, d] + begin.ss[0, d], cross], [cross, ahead.zz[0, d] + begin.zz[0, d]]]
        error = [begin.s[0, d] - ahead.s[0, d], begin.z[0, d] - ahead.z[0, d]]
        expected += multivariate_normal.logpdf(error, cov=np.array(cov))
        wide = law.speed[d] * ends.unit[1, d]
        expected -= norm.logpdf(begin.z[0, d], scale=wide)
    assert found.source.tolist() == [0] and found.odds[0] == pytest.approx(expected, abs=1e-3)


def test_links_can_be_selected() -> None:
    found = Links(np.arange(3), np.arange(3) + 1, np.ones(3, int), np.array([1.0, -1.0, 2.0]))
    assert found.of(found.odds > 0).source.tolist() == [0, 2]


def test_the_ends_of_a_run_are_its_filter_both_ways() -> None:
    video, runs = cut(10)
    ends = ends_of(video, runs, LINKING)
    assert ends.first.tolist() == [0, 30, 30] and ends.last.tolist() == [19, 49, 49]
    unit, rows = ends.unit[:1], video.rows
    belief = LINKING.begin(rows.o[:1], rows.unit[:1])
    for t in range(1, 20):
        belief = LINKING.carry(belief, np.array([1 / 25]), unit)
        belief = LINKING.learn(belief, rows.o[t : t + 1], unit)
    assert same(ends.end.take([0]), belief)
    assert ends.end.z[0, 0] == pytest.approx(50, abs=10)  # 2 pixels a frame, 25 frames a second
    assert ends.begin.z[0, 0] == pytest.approx(50, abs=10)
    assert ends.end.s[0, 0] == pytest.approx(138, abs=3)
    assert ends.begin.s[0, 0] == pytest.approx(100, abs=3)


def test_a_backward_run_is_the_mirror_of_a_forward_one() -> None:
    forward, back = (
        video_of(boxes_of([(t, 300 + d * 3 * (t - 10), 300.0) for t in range(21)]), 21)
        for d in (1, -1)
    )
    run = [np.arange(21)]
    begin, end = ends_of(forward, run, LINKING).begin, ends_of(back, run, LINKING).end
    for part in PARTS:
        sign = -1 if part in ("z", "sz") else 1
        assert np.allclose(getattr(begin, part), sign * getattr(end, part))


def test_no_run_has_no_end_and_no_link() -> None:
    video = video_of(boxes_of([]), 5)
    assert ends_of(video, [], LINKING).end.s.shape == (0, 4)
    assert not len(links(video, []).odds)
