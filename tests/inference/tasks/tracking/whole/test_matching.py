"""Assignments against all of them, tried one by one; tracklets of boxes made by hand."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from inference.tasks.tracking.whole.law import MATCHING
from inference.tasks.tracking.whole.matching import Matching, best_pairs, tracklets
from inference.tasks.tracking.whole.video import Video
from tests.inference.tasks.tracking.whole.made import boxes_of, video_of, walk


def best_total(score: np.ndarray, least: float) -> float:
    """The highest sum of gains above ``least``, over all partial assignments."""
    if score.shape[0] > score.shape[1]:
        score = score.T
    gain = np.maximum(score - least, 0)
    rows = np.arange(len(gain))
    return max(gain[rows, list(p)].sum() for p in permutations(range(gain.shape[1]), len(gain)))


@pytest.mark.parametrize("seed", range(20))
def test_pairs_are_the_best_assignment_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    score, least = rng.normal(2, 5, rng.integers(1, 6, 2)), 1.0
    row, column, clear = best_pairs(score, least, 0.5)
    assert len(set(row.tolist())) == len(set(column.tolist())) == len(row)
    assert (score[row, column] > least).all()
    assert np.isclose((score[row, column] - least).sum(), best_total(score, least))
    for i, j, known in zip(row, column, clear, strict=True):
        rivals = [least, *np.delete(score[i], j), *np.delete(score[:, j], i)]
        assert known == (score[i, j] - max(rivals) > 0.5)


def test_hopeless_scores_make_no_pair() -> None:
    for score in (np.full((2, 3), -np.inf), np.full((1, 1), 1.0), np.full((3, 2), -5.0)):
        assert not len(best_pairs(score, 1.0, 0.5)[0])


@pytest.mark.parametrize(
    ("how", "detected", "rate", "seconds"),
    [
        (Matching(), 0.9, 1000.0, 0.12),
        (Matching(), 0.9, 10.0, 0.25),  # two misses and half a frame
        (Matching(missed=0.1), 0.9, 10.0, 0.15),
        (Matching(patience=1.0), 0.9, 10.0, 1.0),
        (Matching(), 0.5, 10.0, 0.1 * (np.log(100) / np.log(2) + 0.5)),
    ],
)
def test_patience_lasts_as_long_as_misses_may(
    how: Matching, detected: float, rate: float, seconds: float
) -> None:
    assert np.isclose(how.wait(detected, rate), seconds)


def runs_of(video: Video, how: Matching | None = None, **options: float) -> list[list[float]]:
    """Frames of the tracklets."""
    nowhere = np.full(len(video.rows.frame), video.log_anywhere)
    found = tracklets(video, MATCHING, nowhere, how or Matching(), **options)
    assert sorted(np.concatenate([*found, []]).tolist()) == list(range(len(video.rows.frame)))
    return [video.rows.frame[run].tolist() for run in found]


def test_one_who_walks_is_one_tracklet_and_two_are_two() -> None:
    one = walk(range(20), noise=2)
    assert runs_of(video_of(boxes_of(one), 20)) == [list(range(20))]
    two = boxes_of(one + walk(range(20), x=600, noise=2, seed=1))
    assert runs_of(video_of(two, 20)) == [list(range(20))] * 2
    assert runs_of(video_of(boxes_of([]), 5)) == []


def test_a_gap_longer_than_the_patience_ends_a_tracklet() -> None:
    video = video_of(boxes_of(walk([*range(10), *range(16, 26)], noise=1)), 26)
    assert len(runs_of(video)) == 2  # 7 frames are 0.28 s
    assert len(runs_of(video, wait=0.5)) == len(runs_of(video, Matching(patience=0.5))) == 1
    assert len(runs_of(video, detected=0.5)) == 1  # six misses in a row are no wonder


def test_a_match_that_another_comes_close_to_is_not_made() -> None:
    rows = [*walk(range(12), noise=1), *[(t, 100 + 2 * t + 4, 300.0) for t in range(6, 12)]]
    video = video_of(boxes_of(rows), 12)
    assert max(len(run) for run in runs_of(video)) < 12
    bold = runs_of(video, Matching(margin=-100.0))
    assert max(len(run) for run in bold) == 12


def test_the_intensity_of_starts_is_what_a_match_must_beat() -> None:
    video = video_of(boxes_of(walk(range(5))), 5)
    crowded = np.full(5, 30.0)  # nothing explains a box as well as so many starts
    assert len(tracklets(video, MATCHING, crowded, Matching())) == 5
    assert len(runs_of(video, Matching(least=100.0))) == 5
