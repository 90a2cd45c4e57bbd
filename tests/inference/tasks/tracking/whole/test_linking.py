"""Links against all sets of them, tried one by one; gaps as a probability law; chains."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from inference.tasks.tracking.kalman import IntArray
from inference.tasks.tracking.whole.law import LINKING
from inference.tasks.tracking.whole.linking import Linking, best_links, chains_of, link
from inference.tasks.tracking.whole.starts import Surroundings
from inference.tasks.tracking.whole.video import Video
from tests.inference.tasks.tracking.whole.made import boxes_of, learned_of, video_of, walk


def best_gain(source: IntArray, target: IntArray, gain: np.ndarray) -> float:
    """The highest total of links in which no node is twice a source or twice a target."""
    best, every = 0.0, range(len(gain))
    for size in range(1, len(gain) + 1):
        for some in map(list, combinations(every, size)):
            if len(set(source[some])) == len(set(target[some])) == size:
                best = max(best, float(gain[some].sum()))
    return best


@pytest.mark.parametrize("seed", range(20))
def test_links_are_the_best_set_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source, target = np.triu_indices(5, 1)
    kept = rng.random(len(source)) < 0.8
    source, target = source[kept], target[kept]
    gain = rng.normal(0.5, 2, len(source))
    follow = best_links(5, source, target, gain)
    table = {(i, j): g for i, j, g in zip(source.tolist(), target.tolist(), gain, strict=True)}
    assert len(set(follow.values())) == len(follow)
    assert all(table[pair] > 0 for pair in follow.items())
    total = sum(table[pair] for pair in follow.items())
    assert np.isclose(total, best_gain(source, target, gain))


def test_links_without_a_gain_are_none() -> None:
    one = np.array([0])
    for gain in (-1.0, 0.0):
        assert best_links(2, one, one + 1, np.array([gain])) == {}
    assert best_links(2, one, one + 1, np.array([1e-9])) == {0: 1}
    assert best_links(3, one[:0], one[:0], np.zeros(0)) == {}


def test_every_node_is_in_one_chain() -> None:
    assert chains_of(6, {0: 2, 2: 5, 1: 3}) == [[0, 2, 5], [1, 3], [4]]
    assert chains_of(0, {}) == [] and chains_of(2, {}) == [[0], [1]]


@pytest.mark.parametrize("rate", [5.0, 25.0, 120.0])
@pytest.mark.parametrize("how", [Linking(), Linking(short=0.4, long=3.0, long_share=0.7)])
def test_gaps_of_all_lengths_sum_to_one(how: Linking, rate: float) -> None:
    frames = np.arange(1, round(60 * how.long * rate))
    law = np.exp(how.log_gap(frames, rate))
    assert np.isclose(law.sum(), 1)
    mean = how.long_share * how.long + (1 - how.long_share) * how.short
    assert (law * (frames - 0.5)).sum() / rate == pytest.approx(mean, abs=0.2 / rate)
    assert np.isfinite(how.log_gap(np.array([10**7]), rate)).all()


def pieces(rows: list[tuple[float, ...]], length: int) -> tuple[Video, list[IntArray]]:
    """A video, and runs that end where a frame is missing; one object."""
    video = video_of(boxes_of(rows), length)
    cuts = np.flatnonzero(np.diff(video.rows.frame) > 1) + 1
    return video, np.split(np.arange(len(video.rows.frame)), cuts)


def linked(frames: list[int], how: Linking | None = None) -> int:
    """How many chains the pieces of one walk are."""
    video, runs = pieces(walk(frames, noise=1), frames[-1] + 1)
    good = np.ones(len(frames), bool)
    found = link(video, runs, learned_of(good), good, LINKING, how or Linking())
    assert sorted(np.concatenate(found).tolist()) == list(range(len(frames)))
    return len(found)


SHORT_GAP, LONG_GAP = [*range(15), *range(20, 35)], [*range(15), *range(50, 70)]


def test_pieces_of_a_walk_become_one() -> None:
    assert linked(SHORT_GAP) == 1
    assert linked([*range(15), *range(20, 35), *range(42, 60)]) == 1


def test_options_of_links_say_what_is_linked() -> None:
    assert linked(SHORT_GAP, Linking(stages=(0.1,))) == 2
    assert linked(SHORT_GAP, Linking(least=30.0)) == 2
    assert linked(SHORT_GAP, Linking(uncovered=1000.0)) == 2
    near = Surroundings(distance=0.01, log_height=0.01, anywhere=1e9)
    assert linked(SHORT_GAP, Linking(surroundings=near)) == 2
    assert linked(SHORT_GAP, Linking(short=1e-3, long=1e-3)) == 2
    assert linked(LONG_GAP, Linking(least=-20.0, uncovered=0.0)) == 1


def test_an_object_and_clutter_are_not_linked_where_kinds_weigh() -> None:
    video, runs = pieces(walk(SHORT_GAP, noise=1), 35)
    good = np.arange(len(SHORT_GAP)) < 15
    for weight, chains in ((0.0, 1), (20.0, 2)):
        how = Linking(same_kind=weight)
        assert len(link(video, runs, learned_of(good), good, LINKING, how)) == chains


def test_one_is_unseen_for_longer_behind_another() -> None:
    """Only what may hide others does."""
    frames = [*range(20), *range(40, 60)]
    someone, wall = walk(frames, noise=1), [(t, 158.0, 320.0, 120.0, 200.0) for t in range(60)]
    for solid in (True, False):
        for rows, chains in ((someone + wall, 1 if solid else 2), (someone, 2)):
            video = video_of(boxes_of(rows), 60)
            person, frame = video.rows.o[:, 3] < np.log(150), video.rows.frame
            runs = [np.flatnonzero(person & (frame < 30)), np.flatnonzero(person & (frame >= 30))]
            good, hides = np.ones(len(rows), bool), np.full(len(rows), solid)
            how = Linking(uncovered=40.0)
            found = link(video, runs, learned_of(good), hides, LINKING, how)
            assert len(found) == chains


def test_no_run_is_no_chain() -> None:
    none = np.zeros(0, bool)
    video = video_of(boxes_of([]), 5)
    assert link(video, [], learned_of(none), none, LINKING, Linking()) == []
