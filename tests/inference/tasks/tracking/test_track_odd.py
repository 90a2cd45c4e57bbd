"""`track` without ``objects``: videos that are odd, and still have an answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from ppl_models.data.motchallenge import Boxes
from tests.inference.tasks.tracking.whole.followed import (
    ONE,
    SCENE,
    crossing,
    equal,
    follow,
    owners,
)
from tests.inference.tasks.tracking.whole.made import IMAGE, boxes_of, scored, walk

ROWS = ("frame", "id", "ltwh", "score")


def test_large_frame_numbers_are_as_good_as_small_ones() -> None:
    late = replace(SCENE.detections, frame=SCENE.detections.frame + 10**6)
    options = {"image_size": SCENE.image_size, "frames": (1, 80)}
    a = follow(SCENE.detections, **options)
    b = follow(late, **options | {"frames": (10**6 + 1, 10**6 + 80)})
    assert b.first == 10**6 + 1 and b.length == 80
    assert equal(a, replace(b, frame=b.frame - 10**6))


def test_a_gap_of_a_thousand_frames_ends_who_was_there() -> None:
    rows = walk(range(1, 31), noise=1) + walk(range(1031, 1061), x=-1700.0, noise=1)
    found = follow(scored(boxes_of(rows)))
    assert found.length == 1060 and found.objects == 2
    assert len(found.object) < 400  # frames in which nobody may be there have no row
    assert not ((found.frame > 100) & (found.frame < 1000) & found.there()).any()


@pytest.mark.parametrize("rate", [25.0, None])
def test_little_or_nothing_to_follow_is_an_answer_too(rate: float | None) -> None:
    one, none = boxes_of([(1, 100, 300)]), boxes_of([])
    for image_size in (None, IMAGE):
        options: dict[str, Any] = {"rate": rate, "image_size": image_size}
        assert follow(one, **options).objects <= 1
        empty = follow(none, frames=(1, 10), **options)
        assert (empty.objects, empty.first, empty.length) == (0, 1, 10)
        assert not len(empty.as_boxes()) and not len(empty.assignment)
        beyond = follow(ONE, frames=(90, 99), **options)
        assert (beyond.objects, len(beyond.detections)) == (0, 0)
        assert follow(boxes_of([(1, 100, 300)] * 20), **options).objects <= 20


def test_five_hundred_boxes_in_one_frame() -> None:
    places = np.random.default_rng(0).uniform(0, 1000, (500, 2)).tolist()
    found = follow(scored(boxes_of([(1, *place) for place in places])), image_size=(1000, 1000))
    assert found.length == 1 and len(found.assignment) == 500


def test_identical_boxes_are_at_most_as_many_objects_as_there_are_in_a_frame() -> None:
    found = follow(scored(boxes_of([(t, 100, 300) for t in range(1, 21) for _ in range(3)])))
    there = np.bincount(found.frame[found.there()], minlength=21)
    assert there.max() <= 3


def test_people_are_followed_without_scores() -> None:
    boxes, source = crossing()
    for score in (-1.0, np.nan, 1.0):
        found = follow(replace(boxes, score=np.full(len(boxes), score)))
        assert found.objects == 2 and owners(found, source) == [{1}, {2}]


@pytest.mark.parametrize("score", [-1.0, np.nan, 0.9, np.inf])
def test_any_score_gives_an_answer(score: float) -> None:
    boxes, _ = crossing()
    some = boxes.score.copy()
    some[::3] = score
    assert follow(replace(boxes, score=some)).objects == 2


def test_low_scores_make_no_object() -> None:
    assert follow(scored(ONE, 0.05, 0.2)).objects == 0
    assert follow(ONE).objects == 1


def test_frames_cut_the_video() -> None:
    found = follow(ONE, frames=(5, 40))
    assert (found.first, found.length) == (5, 36) and found.frame.min() >= 5
    assert len(found.detections) == 26 and len(found.assignment) == 26


def joined(*parts: Boxes) -> Boxes:
    """All detections of several videos, and in the order that `Boxes` gives them."""
    return Boxes(*(np.concatenate([getattr(one, p) for one in parts]) for p in ROWS))


def joined_source(*parts: tuple[Boxes, np.ndarray]) -> np.ndarray:
    """The sources of the detections of `joined`."""
    order = np.argsort(np.concatenate([boxes.frame for boxes, _ in parts]), kind="stable")
    return np.concatenate([source for _, source in parts])[order]


def test_one_object_for_one_frame_takes_nobody_s_name() -> None:
    boxes, source = crossing()
    extra = boxes_of([(30, 900.0, 100.0)], score=0.9)
    found = follow(joined(boxes, extra))
    [one, two, short] = owners(found, joined_source((boxes, source), (extra, np.array([2]))))
    assert len(one) == len(two) == 1 and not one & two and not short & (one | two)


@pytest.mark.parametrize("count", [1, 500])
def test_a_frame_full_of_boxes_among_others(count: int) -> None:
    """Who walks through it, for six seconds, is followed, but perhaps in that frame.

    Among 500 flashes of the same scores one who is there for two is as likely a flash that lasts.
    """
    places = np.random.default_rng(0).uniform(0, 1000, (count, 2)).tolist()
    crowd = scored(boxes_of([(10, *place) for place in places]))
    one = scored(boxes_of(walk(range(1, 151), x=300.0, noise=1)))
    found = follow(joined(one, crowd), image_size=(1000.0, 1000.0))
    source = joined_source((one, np.zeros(150)), (crowd, np.ones(count)))
    owner = found.assignment[(source == 0) & (found.detections.frame != 10)]
    assert len(set(owner.tolist())) == 1 and owner[0] > 0


def test_a_video_cut_in_two_and_joined_has_the_same_people() -> None:
    """Each half by itself, and both at once: inside a half the same people have the detections.

    Tolerance: one detection in twenty, of people near the cut or the border whose few detections
    in one half are taken for clutter there.
    """
    whole = follow(SCENE.detections, image_size=SCENE.image_size, frames=(1, 80))
    for first, last in ((1, 40), (41, 80)):
        half = follow(SCENE.detections, image_size=SCENE.image_size, frames=(first, last))
        inside = SCENE.detections.between(first, last)
        assert len(half.assignment) == len(inside)
        frame = SCENE.detections.frame
        same = whole.assignment[(frame >= first) & (frame <= last)]
        both = (same > 0) & (half.assignment > 0)
        assert both.sum() >= 0.95 * max((same > 0).sum(), (half.assignment > 0).sum())
        shared = np.zeros((same.max() + 1, half.assignment.max() + 1))
        np.add.at(shared, (same[both], half.assignment[both]), 1)
        rows, columns = linear_sum_assignment(-shared)
        assert shared[rows, columns].sum() >= 0.95 * both.sum()


def test_two_videos_behind_each_other_are_followed_as_each_alone() -> None:
    """A cut to another scene: nobody goes on as somebody else."""
    boxes, _ = crossing()
    moved = boxes.ltwh + np.array([200.0, 250.0, 0, 0])
    found = follow(joined(boxes, replace(boxes, ltwh=moved, frame=boxes.frame + 60)))
    names = [set(found.assignment[found.detections.frame <= 60].tolist()) - {0}]
    names.append(set(found.assignment[found.detections.frame > 60].tolist()) - {0})
    assert len(names[0]) == len(names[1]) == 2
