"""Starting paths: the truth where the clip is easy, and something to stand on where it is not."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from inference.tasks.tracking.initial_paths import Settings, start_paths
from inference.tasks.tracking.kalman import FloatArray
from inference.tasks.tracking.tracklets import Clip
from ppl_models.linear_motion import LinearMotion
from tests.inference.tasks.clips import (
    HEIGHT,
    SIZE,
    WIDTH,
    anywhere,
    clip_of,
    detected,
    straight,
)

T = 40


def three() -> FloatArray:
    return straight([(300, 500), (900, 300), (1500, 700)], [(2, 0.5), (-1, 1), (0.5, -1.5)], T)


def start(clip: Clip, objects: int = 3, **settings: float) -> FloatArray:
    return start_paths(clip, objects, LinearMotion(), Settings(**settings))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("shuffled", [False, True])
def test_easy_clips_are_the_truth_from_left_to_right(shuffled: bool) -> None:
    paths = start(clip_of(detected(three()), rng() if shuffled else None))
    assert np.array_equal(paths, three())


def test_order_of_the_detections_does_not_matter() -> None:
    frames = [boxes + anywhere(2, rng(t)) for t, boxes in enumerate(detected(three()))]
    a, b = (start(clip_of(frames, rng(seed))) for seed in range(2))
    assert np.array_equal(a, b)


@pytest.mark.parametrize("which", range(3))
def test_a_quarter_of_the_clip_without_detections_is_bridged(which: int) -> None:
    truth, there = three(), np.ones((3, T))
    there[which, 15 : 15 + T // 4] = 0
    # straight lines are drawn through gaps, and these objects walk straight
    assert np.allclose(start(clip_of(detected(truth, there), rng())), truth)


def test_all_missed_at_different_times_and_detections_missing() -> None:
    truth, there = three(), (rng(1).random((3, T)) > 0.4).astype(float)
    there[:, [0, -1]] = 1
    for n in range(3):
        there[n, 5 + 8 * n : 15 + 8 * n] = 0
    assert np.allclose(start(clip_of(detected(truth, there), rng())), truth)


@pytest.mark.parametrize("seed", range(3))
def test_clutter_is_left_out(seed: int) -> None:
    draw = rng(seed)
    noise = draw.normal(size=(3, T, 4)) * 0.04 * SIZE
    truth = three()
    frames = [boxes + anywhere(4, draw) for boxes in detected(truth + noise)]
    error = (start(clip_of(frames, draw)) - truth) / SIZE
    # detections of 4 % of a box: no one of 480 coordinates is further off than six times that
    assert np.abs(error).max() < 0.24


def test_the_whole_clip_says_who_stands_in_a_crowded_first_frame() -> None:
    frames = detected(three())
    for t in range(3):
        frames[t] = anywhere(8, rng(t)) + frames[t]
    assert np.allclose(start(clip_of(frames, rng())), three())


def test_an_object_detected_late_is_held_before_and_numbered_last() -> None:
    truth, there = three(), np.ones((3, T))
    there[0, :10] = 0
    paths = start(clip_of(detected(truth, there)))
    assert np.array_equal(paths[:2], truth[1:])
    assert np.array_equal(paths[2, 10:], truth[0, 10:])
    assert np.array_equal(paths[2, :10], np.tile(truth[0, 10], (10, 1)))


def test_crossing_objects_keep_their_velocity() -> None:
    """Two walk through each other, a pixel apart at the middle: detected, or missed for a while."""
    truth = straight([(500, 500), (740, 500)], [(6, 0.2), (-6, -0.2)], T)
    for hidden in (0, 10):
        there = np.ones((2, T))
        there[:, 20 - hidden // 2 : 20 + hidden // 2] = 0
        paths = start(clip_of(detected(truth, there), rng()), 2)
        assert np.abs(paths - truth).max() < 7  # in the middle frames either may be either's


def test_fewer_objects_detected_than_there_are() -> None:
    truth = three()[:1]
    paths = start(clip_of(detected(truth)))
    assert paths.shape == (3, T, 4) and np.array_equal(paths[0], truth[0])
    aside = np.array([WIDTH / 2, 0, 0, 0])
    assert np.allclose(paths[1:] - np.median(truth[0], 0), [[aside], [2 * aside]])


def test_one_detection_in_all() -> None:
    frames: list[list[FloatArray]] = [[] for _ in range(T)]
    frames[17] = [three()[0, 0]]
    paths = start(clip_of(frames), 2)
    assert np.array_equal(paths[0], np.tile(three()[0, 0], (T, 1)))
    assert np.isfinite(paths).all()


def test_no_detection_at_all() -> None:
    paths = start(clip_of([[] for _ in range(T)]))
    assert paths.shape == (3, T, 4) and np.isfinite(paths).all()
    for a, b in itertools.combinations(paths, 2):
        assert not np.array_equal(a, b)  # equal paths would stay equal for ever


def test_nothing_detected_in_half_of_the_clip() -> None:
    truth, there = three(), np.ones((3, T))
    there[:, T // 2 :] = 0
    paths = start(clip_of(detected(truth, there)))
    assert np.array_equal(paths[:, : T // 2], truth[:, : T // 2])
    assert np.array_equal(paths[:, T // 2 :], np.repeat(truth[:, T // 2 - 1 : T // 2], T // 2, 1))


@pytest.mark.parametrize("count", [1, 3, 5])
def test_one_frame(count: int) -> None:
    boxes = anywhere(count, rng())
    paths = start(clip_of([boxes]))
    assert paths.shape == (3, 1, 4)
    taken = [any(np.array_equal(path[0], box) for box in boxes) for path in paths]
    assert sum(taken) == min(count, 3)


def test_detections_twice_in_the_same_place() -> None:
    frames = [boxes + boxes[:1] for boxes in detected(three())]
    paths = start(clip_of(frames, rng()))
    assert np.abs(paths - three()).max() < 1e-9


def test_one_who_jumps_is_one_object_only_where_the_prior_allows_it() -> None:
    truth = straight([(300, 500)], [(1, 0)], T)
    truth[0, T // 2 :, 0] += 40
    assert np.array_equal(start(clip_of(detected(truth)), 1), truth)
    calm = start(clip_of(detected(truth)), 1, motion_scale=0.02)[0]
    assert np.array_equal(calm[: T // 2], np.tile(truth[0, T // 2], (T // 2, 1)))


@pytest.mark.slow
def test_many_objects_in_a_long_clip() -> None:
    """20 objects detected 60 % of the time, and 20 clutter boxes a frame: some 20,000 tracklets."""
    draw, frames, objects = rng(), 1_000, 20
    x, v = draw.uniform((0, 0), (1920, 1080), (objects, 2)), draw.normal(0, 2, (objects, 2))
    truth = np.tile(np.log([1.0, 1.0, WIDTH, HEIGHT]), (objects, frames, 1))
    for t in range(frames):
        v = 0.98 * v + draw.normal(0, 0.3, v.shape)
        x = x + v
        v = np.where((x < 0) | (x > (1920, 1080)), -v, v)
        x = x.clip(0, (1920, 1080))
        truth[:, t, :2] = x
    noise = draw.normal(size=truth.shape) * 0.04 * SIZE
    there = (draw.random((objects, frames)) < 0.6).astype(float)
    found = [boxes + anywhere(20, draw) for boxes in detected(truth + noise, there)]
    paths = start(clip_of(found, draw), objects)
    assert paths.shape == truth.shape
    error = np.abs((paths[:, None] - truth) / SIZE)[..., :2].max(-1)  # (N, N, T)
    usual = (error < 0.5).sum(-1).argmax(1)  # whom each path is with most of the time
    assert sorted(usual) == list(range(objects))
    assert (error[np.arange(objects), usual] < 0.5).mean() > 0.98
