"""Tracklets join what is beyond doubt, and nothing else."""

from __future__ import annotations

import numpy as np

from inference.tasks.tracking.kalman import FloatArray, Motion
from inference.tasks.tracking.tracklets import Clip, Settings, Tracklet, object_scale, tracklets
from ppl_models.linear_motion import LinearMotion
from tests.inference.tasks.clips import anywhere, clip_of, detected, straight

T = 30


def runs_of(clip: Clip, **settings: float) -> list[Tracklet]:
    return tracklets(clip, Motion(LinearMotion(), len(clip.o), 1.0), Settings(**settings))


def two() -> FloatArray:
    return straight([(300, 500), (900, 500)], [(2, 0), (-1, 0)], T)


def test_each_detection_is_in_one_tracklet_in_the_order_of_time() -> None:
    draw = np.random.default_rng(0)
    clip = clip_of([boxes + anywhere(5, draw) for boxes in detected(two())], draw)
    runs = runs_of(clip)
    pairs = [pair for run in runs for pair in zip(run.frames, run.slots, strict=True)]
    assert sorted(pairs) == list(zip(*np.nonzero(clip.mask), strict=True))
    assert all(np.all(np.diff(run.frames) > 0) for run in runs)
    assert np.all(np.diff([run.frames[0] for run in runs]) >= 0)


def test_two_apart_are_two_tracklets_with_their_fit() -> None:
    runs = runs_of(clip_of(detected(two()), np.random.default_rng(0)))
    assert [run.frames for run in runs] == [list(range(T))] * 2
    # exact detections of 1.6, 4 pixels, 4 % and 4 %: each beats clutter by far
    assert all(run.fit / (T - 1) > -5 for run in runs)


def test_patience() -> None:
    there = np.ones((2, T))
    there[0, 10:15], there[1, 10:17] = 0, 0
    clip = clip_of(detected(two(), there))
    assert [len(run.frames) for run in runs_of(clip, patience=6)] == [25, 10, 13]
    assert [len(run.frames) for run in runs_of(clip, patience=8)] == [25, 23]


def test_an_ambiguous_detection_begins_a_new_tracklet() -> None:
    """Two walk side by side, a pixel apart in the middle: there, nothing is joined."""
    truth = two()
    truth[1] = truth[0]
    truth[1, :, 0] += np.abs(np.arange(T) - T // 2) * 12 + 1
    runs = runs_of(clip_of(detected(truth), np.random.default_rng(0)))
    joined = [run for run in runs if len(run.frames) > 1]
    assert len(joined) == 4 and all(T // 2 not in run.frames for run in joined)


def test_jumps_beyond_the_gate_begin_a_new_tracklet() -> None:
    truth = two()[:1]
    truth[0, 15:, 1] += 60
    assert [len(run.frames) for run in runs_of(clip_of(detected(truth)))] == [15, 15]


def test_without_detections_there_is_no_tracklet() -> None:
    assert runs_of(clip_of([[] for _ in range(T)])) == []


def test_height_is_the_unit_of_motion_of_both_positions() -> None:
    assert object_scale(np.array([[40.0, 100.0, 1.0, 1.0]])).tolist() == [[100.0, 100.0, 1.0, 1.0]]
