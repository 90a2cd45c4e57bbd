"""Everyone who comes and goes, by `track` without ``objects``: inputs, odd videos, and answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inference.tasks.tracking import LiveTracks, TrackerSettings, Tracks, WholeSettings, track
from inference.tasks.tracking.whole import (
    Design,
    LifeLaw,
    Linking,
    Matching,
    ScoreLaw,
    Surroundings,
)
from inference.tasks.tracking.whole.law import LINKING, MATCHING
from ppl_models.data import simulate_scenes
from ppl_models.data.motchallenge import Boxes
from ppl_models.errors import InputError
from tests.clips import shuffled, walkers
from tests.cures import tried
from tests.inference.tasks.tracking.whole.made import IMAGE, boxes_of, scored, walk

[SCENE] = simulate_scenes(1, length=80, fps=25, people=6, camera="still", seed=3)
ONE = scored(boxes_of(walk(range(1, 31), noise=1)))
PARTS = ("object", "frame", "mean", "sd", "present", "seen", "detection")


def follow(boxes: Boxes, **options: Any) -> LiveTracks:
    """Follow one sequence, at 25 frames a second if nothing else is said."""
    [found] = track([boxes], **({"rate": 25.0, "image_size": IMAGE} | options))
    assert found.object.tolist() == sorted(found.object.tolist())
    assert all(len(getattr(found, part)) == len(found.object) for part in PARTS)
    assert np.isfinite(found.mean).all() and (found.sd > 0).all()
    assert ((found.present >= 0) & (found.present <= 1 + 1e-9)).all()
    return found


def equal(a: LiveTracks, b: LiveTracks) -> bool:
    """Whether two answers have the same numbers, but for rows of detections."""
    return all(np.allclose(getattr(a, part), getattr(b, part)) for part in PARTS[:-1])


def owners(found: LiveTracks, source: np.ndarray) -> list[set[int]]:
    """The objects that have detections of each source (R), detections in the order of frames."""
    owner = found.assignment
    return [set(owner[source == n].tolist()) - {0} for n in np.unique(source[source >= 0])]


def crossing() -> tuple[Boxes, np.ndarray]:
    """Two who pass each other, and whose detections are whose."""
    right = walk(range(1, 61), 100.0, 300.0, (6.0, 0.0), 2.0)
    left = walk(range(1, 61), 466.0, 312.0, (-6.0, 0.0), 2.0, seed=1)
    rows = [row for pair in zip(right, left, strict=True) for row in pair]
    return scored(boxes_of(rows)), np.tile([0, 1], 60)


def test_people_who_cross_keep_their_names() -> None:
    boxes, source = crossing()
    found = follow(boxes)
    assert found.objects == 2 and owners(found, source) == [{1}, {2}]
    there = found.there()
    for n, speed in ((1, 6.0), (2, -6.0)):
        x = found.mean[(found.object == n) & there, 0]
        assert len(x) >= 58 and np.allclose(np.diff(x), speed, atol=4)


def test_the_people_of_a_simulated_scene_are_found() -> None:
    """Loosely: most are one object each, and that object is of nobody else."""
    found = follow(SCENE.detections, image_size=SCENE.image_size)
    people = [one for one in owners(found, SCENE.source) if one]
    firsts = [min(one) for one in people]
    assert len(set(firsts)) >= len(people) - 1 and abs(found.objects - len(people)) <= 2
    clutter = found.assignment[SCENE.source < 0]
    assert (clutter > 0).mean() < 0.4


def test_the_same_call_gives_the_same_numbers_and_moves_no_generator(untouched: None) -> None:
    options = {"image_size": SCENE.image_size}
    a, b = (follow(SCENE.detections, **options) for _ in range(2))
    assert all(np.array_equal(getattr(a, part), getattr(b, part)) for part in PARTS)


def test_the_order_of_rows_does_not_matter() -> None:
    options = {"image_size": SCENE.image_size}
    a = follow(SCENE.detections, **options)
    assert equal(a, follow(shuffled(SCENE.detections), **options))


def test_two_sequences_are_followed_as_each_alone() -> None:
    both = track([SCENE.detections, ONE], rate=[25.0, 10.0], image_size=IMAGE)
    assert [one.rate for one in both] == [25.0, 10.0]
    assert equal(both[0], follow(SCENE.detections)) and equal(both[1], follow(ONE, rate=10.0))


def test_in_windows_the_same_people_are_followed() -> None:
    steps: list[tuple[int, int]] = []
    whole = follow(SCENE.detections, image_size=SCENE.image_size)
    cut = follow(
        SCENE.detections,
        image_size=SCENE.image_size,
        settings=WholeSettings(window=40, overlap=15),
        progress=lambda done, of: steps.append((done, of)),
    )
    assert steps == [(i + 1, len(steps)) for i in range(len(steps))] and len(steps) > 1
    both = (whole.assignment > 0) & (cut.assignment > 0)
    pairs = set(zip(whole.assignment[both].tolist(), cut.assignment[both].tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    assert both.sum() > 0.9 * (whole.assignment > 0).sum()


def test_a_detection_is_that_of_its_row() -> None:
    found = follow(SCENE.detections, image_size=SCENE.image_size)
    has = found.detection >= 0
    assert np.array_equal(found.detections.frame[found.detection[has]], found.frame[has])
    assert len(set(found.detection[has].tolist())) == has.sum()


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


def settings_of(name: str, value: Any) -> WholeSettings:
    """Settings of which one differs from the default."""
    return (
        WholeSettings(life=value)
        if name == "life"
        else WholeSettings(design=Design(**{name: value}))
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("life", LifeLaw(life=2.0, seen=1.0, seen_behind=0.2, hidden=0.2)),
        ("scores", ScoreLaw(8, 8.0, 4.0, 0.3, 0.4, 0.5, 5.0, 20)),
        ("matching", replace(MATCHING, change=(0.8, 0.5, 0.5, 0.5))),
        ("linking", replace(LINKING, change=(0.5, 0.2, 0.2, 0.2))),
        ("smoothing", LINKING),
        ("matches", Matching(margin=1.0)),
        ("links", Linking(stages=(0.3, 1.0))),
        ("last_links", Linking(stages=(1.0,), least=2.0)),
        ("rounds", 1),
        ("patience", 0.5),
        ("surroundings", Surroundings(distance=2.0)),
    ],
)
def test_settings_that_are_a_little_different_find_the_same_people(name: str, value: Any) -> None:
    boxes, source = crossing()
    kept = (source == 1) | (boxes.frame < 20) | (boxes.frame > 24)
    other = follow(boxes.select(kept), settings=settings_of(name, value))
    assert other.objects == 2 and owners(other, source[kept]) == [{1}, {2}]


@pytest.mark.parametrize(
    "settings",
    [
        WholeSettings(Design(patience=-1e3)),
        WholeSettings(Design(matches=Matching(least=1e6), links=Linking(least=1e6))),
    ],
)
def test_settings_that_believe_in_nobody_find_nobody(settings: WholeSettings) -> None:
    assert not follow(ONE, settings=settings).there().any()


@pytest.mark.parametrize("score", [-1.0, np.nan, 0.9, np.inf])
def test_any_score_gives_an_answer(score: float) -> None:
    boxes, _ = crossing()
    some = boxes.score.copy()
    some[::3] = score
    assert follow(replace(boxes, score=some)).objects == 2


def test_low_scores_make_no_object() -> None:
    assert follow(scored(ONE, 0.05, 0.2)).objects == 0
    assert follow(ONE).objects == 1


def test_the_rate_is_inferred_where_nobody_says() -> None:
    found = track([SCENE.detections, ONE], rate=[None, 12.5])
    assert 2.5 <= found[0].rate <= 57 and found[1].rate == 12.5
    assert track([ONE])[0].rate == track([ONE], rate=None)[0].rate


def test_arrays_are_as_good_as_boxes() -> None:
    arrays = (ONE.frame, ONE.ltwh, ONE.score)
    assert equal(follow(ONE), follow(arrays))  # type: ignore[arg-type]
    lists = tuple(part.tolist() for part in arrays)
    assert equal(follow(ONE), follow(lists))  # type: ignore[arg-type]
    [found] = track([(ONE.frame, ONE.ltwh, ONE.score)], objects=1, prior="linear", iterations=2)
    assert isinstance(found, Tracks)


@pytest.mark.parametrize("rate", [25, np.float32(25), [25], (25.0,), np.array([25]), np.array(25)])
def test_rates_of_any_numbers(rate: Any) -> None:
    assert follow(ONE, rate=rate).rate == 25


BOX = [[1.0, 2.0, 3.0, 4.0]]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (([1, 2], BOX, [0.5]), "shapes.*a row to each box"),
        (([1], BOX[0], [0.5]), "shapes.*a row to each box"),
        ((1, BOX, [0.5]), "shapes.*a row to each box"),
        (([1], BOX, None), "shapes.*a row to each box"),
        (([[1]], BOX, [0.5]), "shapes.*a row to each box"),
        (([1.5], BOX, [0.5]), "fraction.*whole numbers"),
        (([np.nan], BOX, [0.5]), "no number.*number frames from 1"),
        (([1e300], BOX, [0.5]), "no number.*number frames from 1"),
        ((["a"], BOX, [0.5]), "arrays of numbers"),
        (([1], BOX, ["high"]), "arrays of numbers"),
        (([1], [[1.0, 2.0, 3.0, -4.0]], [0.5]), "positive size"),
        (([1], [[np.nan, 2.0, 3.0, 4.0]], [0.5]), "finite"),
    ],
)
def test_arrays_that_are_no_boxes_are_named(arrays: Any, message: str) -> None:
    with pytest.raises(InputError, match=rf"(?s)detections\[1\].*{message}"):
        track([(ONE.frame, ONE.ltwh, ONE.score), arrays])


@pytest.mark.parametrize(
    ("options", "message", "mended"),
    [
        ({"method": "vem"}, "method.*without objects", {"objects": 1, "method": "vem"}),
        ({"prior": "linear"}, "prior.*without objects", {"objects": 1, "prior": "linear"}),
        ({"clutter": False}, "clutter.*without objects", {"objects": 1, "clutter": False}),
        ({"iterations": 2}, "iterations.*without objects", {"objects": 1, "iterations": 2}),
        ({"seed": 0}, "seed.*without objects", {"objects": 1, "seed": 0}),
        ({"objects": 1, "rate": 25}, "rate.*leave out rate, or objects", {"rate": 25}),
        ({"objects": 1, "progress": print}, "progress.*leave out progress", {"objects": 1}),
        ({"settings": TrackerSettings()}, "settings.*WholeSettings", {}),
        ({"objects": 1, "settings": WholeSettings()}, "settings.*TrackerSettings", {}),
        ({"rate": 0}, "rate.*above 0", {"rate": 30}),
        ({"rate": -1.0}, "rate.*above 0", {"rate": None}),
        ({"rate": np.nan}, "rate.*above 0", {"rate": 30}),
        ({"rate": np.inf}, "rate.*above 0", {"rate": 30}),
        ({"rate": "30"}, "rate.*above 0", {"rate": 30}),
        ({"rate": True}, "rate.*above 0", {"rate": 30}),
        ({"rate": ["30"]}, "rate.*above 0", {"rate": [30]}),
        ({"rate": [[30]]}, "rate.*above 0", {"rate": [30]}),
        ({"rate": [30, 30]}, "rate.*2 rates.*one, or 1", {"rate": [30]}),
        ({"rate": []}, "rate.*0 rates.*one, or 1", {"rate": [None]}),
        ({"image_size": (0, 100)}, "image_size.*both positive", {"image_size": (1920, 1080)}),
        ({"image_size": (100,)}, "image_size.*both positive", {"image_size": None}),
        ({"image_size": "640x480"}, "image_size.*both positive", {"image_size": (640, 480)}),
        ({"frames": (5, 2)}, "frames.*1 <= first <= last", {"frames": (2, 5)}),
        ({"frames": (0, 2)}, "frames.*1 <= first <= last", {"frames": (1, 2)}),
        ({"frames": "1:6"}, "frames.*two whole numbers", {"frames": (1, 60)}),
        ({"frames": (1.5, 6)}, "frames", {"frames": [(1, 6)]}),
        ({"frames": [(1, 2), (1, 2)]}, "frames.*2 ranges", {"frames": [(1, 2)]}),
        (
            {"settings": WholeSettings(window=10, overlap=10)},
            "window.*0 <= overlap < window",
            {"settings": WholeSettings(window=600, overlap=120)},
        ),
    ],
)
def test_what_does_not_go_together_is_named_and_the_cure_cures(
    options: dict[str, Any], message: str, mended: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=f"(?s){message}") as error:
        track([ONE], **options)
    for setting in tried(error.value, WholeSettings=WholeSettings, TrackerSettings=TrackerSettings):
        track([ONE], **options | {"settings": setting})
    quick = {"iterations": 2, "prior": "linear"} if "objects" in mended else {}
    assert track([ONE], **quick | mended)


@pytest.mark.parametrize("detections", [[], ONE, ["a.txt"], (ONE.frame, ONE.ltwh, ONE.score)])
def test_what_are_no_sequences_is_named(detections: Any) -> None:
    with pytest.raises(InputError, match="(?s)detections.*Boxes"):
        track(detections)


def test_no_detection_and_no_frames_are_named() -> None:
    with pytest.raises(InputError, match=r"(?s)no detections.*frames=\(1, T\)"):
        track([boxes_of([])])


def test_frames_cut_the_video() -> None:
    found = follow(ONE, frames=(5, 40))
    assert (found.first, found.length) == (5, 36) and found.frame.min() >= 5
    assert len(found.detections) == 26 and len(found.assignment) == 26


def test_walkers_of_other_tests_are_followed_through_misses() -> None:
    clip = walkers(40, 3, drop=0.1, seed=1)
    found = follow(scored(clip.boxes), image_size=(1100, 900))
    assert found.objects == 3 and (found.assignment > 0).mean() > 0.95
    padded = found.as_boxes().padded(1, 40)
    assert padded.shape[1] == 3


def test_an_option_that_does_not_exist_is_refused_as_python_does() -> None:
    for objects in (None, 1):
        with pytest.raises(TypeError, match="unexpected keyword argument 'speed'"):
            track([ONE], objects=objects, speed=3)  # type: ignore[call-overload]


def test_the_rate_is_that_of_the_window_with_the_most_detections() -> None:
    early = boxes_of([(1, 500.0, 300.0)])
    walkers = [row for y in (100.0, 250.0, 400.0) for row in walk(range(900, 960), y=y, noise=1)]
    both = boxes_of([(1, 500.0, 300.0), *walkers])
    settings = WholeSettings(window=100, overlap=20)
    [alone] = track([boxes_of(walkers)], settings=settings)
    [late] = track([both], settings=settings)
    [none] = track([early], settings=settings)
    assert late.rate == alone.rate and none.rate == 25.0
