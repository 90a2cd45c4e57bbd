"""Everyone who comes and goes, by `track` without ``objects``: answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inference.tasks.tracking import WholeSettings, track
from inference.tasks.tracking.whole import (
    Design,
    LifeLaw,
    Linking,
    Matching,
    ScoreLaw,
    Surroundings,
)
from inference.tasks.tracking.whole.law import LINKING, MATCHING
from tests.clips import shuffled, walkers
from tests.inference.tasks.tracking.whole.followed import (
    ONE,
    PARTS,
    SCENE,
    crossing,
    equal,
    follow,
    owners,
)
from tests.inference.tasks.tracking.whole.made import IMAGE, boxes_of, scored, walk


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
        ("scores", ScoreLaw(8, 8.0, 4.0, (0.3, 4.0), (0.2,), 0.5, 5.0, 20)),
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


def test_the_rate_is_inferred_where_nobody_says() -> None:
    found = track([SCENE.detections, ONE], rate=[None, 12.5])
    assert 2.5 <= found[0].rate <= 57 and found[1].rate == 12.5
    assert track([ONE])[0].rate == track([ONE], rate=None)[0].rate


def test_walkers_of_other_tests_are_followed_through_misses() -> None:
    clip = walkers(40, 3, drop=0.1, seed=1)
    found = follow(scored(clip.boxes), image_size=(1100, 900))
    assert found.objects == 3 and (found.assignment > 0).mean() > 0.95
    padded = found.as_boxes().padded(1, 40)
    assert padded.shape[1] == 3


def test_the_rate_is_that_of_the_window_with_the_most_detections() -> None:
    early = boxes_of([(1, 500.0, 300.0)])
    walkers = [row for y in (100.0, 250.0, 400.0) for row in walk(range(900, 960), y=y, noise=1)]
    both = boxes_of([(1, 500.0, 300.0), *walkers])
    settings = WholeSettings(window=100, overlap=20)
    [alone] = track([boxes_of(walkers)], settings=settings)
    [late] = track([both], settings=settings)
    [none] = track([early], settings=settings)
    assert late.rate == alone.rate and none.rate == 25.0
