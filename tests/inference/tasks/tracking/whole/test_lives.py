"""When one is there: seen, behind others, gone."""

from __future__ import annotations

import numpy as np
import pytest

from inference.tasks.tracking.whole.errors import ErrorLaw
from inference.tasks.tracking.whole.law import MATCHING
from inference.tasks.tracking.whole.lives import LifeLaw, Presence, behind_others, presence
from inference.tasks.tracking.whole.smoothing import smooth
from inference.tasks.tracking.whole.video import Video
from tests.inference.tasks.tracking.whole.made import boxes_of, video_of, walk

DETECTED = 0.9


def lives_of(
    video: Video, law: LifeLaw | None = None, odds: float = 0.0, detected: float = DETECTED
) -> Presence:
    """Lives of the people (boxes 100 high) and of walls (higher), an object each."""
    wall = video.rows.o[:, 3] > np.log(150)
    chains = [np.flatnonzero(~wall)] + ([np.flatnonzero(wall)] if wall.any() else [])
    boxes = smooth(video, chains, MATCHING, ErrorLaw())
    weight = np.full(len(wall), odds)
    return presence(video, chains, boxes, boxes[0], weight, MATCHING, law or LifeLaw(), detected)


def test_one_is_there_where_seen_and_soon_after_no_more() -> None:
    lives = lives_of(video_of(boxes_of(walk(range(60, 90), noise=1)), 170))
    there = lives.present[0]
    assert there.shape == (170,) and (there[60:90] > 0.95).all()
    assert (np.diff(there[90:]) <= 1e-12).all() and (np.diff(there[:60]) >= -1e-12).all()
    assert there[92] < 0.5 and there[-1] < 0.01 and there[0] < 0.1
    assert (lives.seen <= lives.present + 1e-12).all() and (lives.seen[0, 60:90] > 0.95).all()


def test_a_miss_is_no_end_and_a_longer_gap_is_spent_hidden() -> None:
    lives = lives_of(video_of(boxes_of(walk([*range(20), 21, *range(45, 60)], noise=1)), 60))
    assert (lives.present[0] > 0.95).all()
    assert lives.seen[0, 20] > 0.2 and lives.seen[0, 33] < 0.1


def behind_a_wall(wall: bool, **constants: float) -> np.ndarray:
    """p(present) of one who stands for 30 frames and is then seen no more, before the end."""
    rows = walk(range(30), speed=(0, 0), noise=1)
    if wall:  # it comes before the person is lost
        rows += [(t, 100.0, 320.0, 120.0, 200.0) for t in range(29, 45)]
    law = LifeLaw(**{"beyond": 0.0, **constants})
    return lives_of(video_of(boxes_of(rows), 45), law).present[0]


def test_behind_another_one_stays() -> None:
    bare, behind = behind_a_wall(False), behind_a_wall(True)
    assert (behind[30:] > 0.8).all() and bare[40] < 0.6
    assert (behind[32:] > bare[32:] + 0.2).all()


def test_beyond_its_detections_one_is_gone_unless_the_law_says_otherwise() -> None:
    usual, open_ended = (behind_a_wall(True, beyond=x) for x in (-3.0, 0.0))
    assert (usual[:30] > 0.95).all() and (usual[31:] < 0.1).all() and (open_ended[31:] > 0.8).all()


def test_constants_of_lives_say_how_long_one_stays() -> None:
    usual = behind_a_wall(True)
    assert behind_a_wall(True, life=1.0)[40] < usual[40]
    assert behind_a_wall(True, seen_behind=2.9)[40] < usual[40]
    assert behind_a_wall(False, seen=0.3)[40] > behind_a_wall(False)[40]
    assert (
        behind_a_wall(True, hidden=0.1)[40] < usual[40]
    )  # who comes out so fast would have been seen


@pytest.mark.parametrize("rate", [5.0, 30.0])
def test_a_chain_expects_as_many_objects_as_were_found(rate: float) -> None:
    law, length = LifeLaw(life=4.0), 120
    life = law.per_frame(rate, 7, length, DETECTED)
    assert life.alive + life.births * length == pytest.approx(7)
    assert life.detection == DETECTED
    seconds = [law.life, law.seen, law.seen_behind, law.hidden]
    chances = [life.death, life.hide, life.hide_behind, life.show]
    assert np.allclose((1 - np.array(chances)) ** rate, np.exp(-1 / np.array(seconds)))


def test_low_odds_make_an_object_less_likely_and_a_bad_detector_makes_gaps_less_telling() -> None:
    video = video_of(boxes_of(walk([10, 11, 12, 15], noise=1)), 30)
    sure, unsure = (lives_of(video, odds=odds).present[0] for odds in (2.0, -12.0))
    assert (unsure[10:16] < sure[10:16]).all() and unsure[12] < 0.7
    good, bad = (lives_of(video, detected=p).present[0, 18] for p in (0.95, 0.3))
    assert bad > good


def test_outside_the_image_one_is_hardly_there() -> None:
    inside = lives_of(video_of(boxes_of(walk(range(20), x=500, speed=(9, 0))), 30)).present[0]
    leaving = lives_of(video_of(boxes_of(walk(range(20), x=820, speed=(9, 0))), 30)).present[0]
    assert leaving[22] < 0.5 * inside[22] and (leaving[:19] > 0.9).all()


def test_no_chain_has_no_life() -> None:
    video = video_of(boxes_of([]), 12)
    none = (np.zeros((0, 12, 4)),) * 2
    lives = presence(video, [], none, none[0], np.zeros(0), MATCHING, LifeLaw(), DETECTED)
    assert isinstance(lives, Presence) and lives.present.shape == lives.seen.shape == (0, 12)


def test_shares_behind_others_who_are_there() -> None:
    still = video_of(boxes_of([(0, 100, 300), (0, 120, 305), (0, 500, 300)]), 1)
    mean = np.tile(still.rows.o[:, None], (1, 2, 1))
    there = np.ones((3, 2), bool)
    there[1, 1] = False
    assert np.allclose(behind_others(mean, there), [[0.5 * 0.95, 0], [0, 0], [0, 0]])
    assert behind_others(mean[:0], there[:0]).shape == (0, 2)
    assert (behind_others(mean, np.zeros((3, 2), bool)) == 0).all()


def test_the_same_box_twice_is_behind_itself_both_ways() -> None:
    still = video_of(boxes_of([(0, 100, 300), (0, 100, 300)]), 1)
    assert np.allclose(behind_others(still.rows.o[:, None], np.ones((2, 1), bool)), 1)
