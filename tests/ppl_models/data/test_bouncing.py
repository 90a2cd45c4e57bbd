from __future__ import annotations

import numpy as np
import pytest

from ppl_models.data.bouncing import Box, box, digit_futures, walk
from ppl_models.errors import InputError

COUNT = 4000


def paths(process: str, length: int = 40, seed: int = 0, side: int = 64) -> tuple:
    """The frame, and places, velocities and bounces (T, R, ...) from anywhere in it."""
    within, rng = box(side, process), np.random.default_rng(seed)
    starts = rng.integers(0, int(within.room) + 1, (COUNT, 2)).astype(float)
    return within, *walk(starts, within.speeds(rng, (COUNT, 2)), length, within, rng)


@pytest.mark.parametrize("process", ["srvp", "svg", "deterministic"])
@pytest.mark.parametrize("side", [32, 50, 64])
def test_digits_stay_in_the_frame_within_their_speed(process: str, side: int) -> None:
    within, places, velocities, bounces = paths(process, side=side)
    assert places.min() >= 0 and places.max() <= within.room
    assert np.abs(velocities).max() <= 4 * side / 64
    # both walls are reached, in both axes
    assert (places.min((0, 1)) == 0).all() and (places.max((0, 1)) == within.room).all()
    assert bounces.any(-1)[1:].all() and not bounces[0].any()


@pytest.mark.parametrize("process", ["srvp", "svg", "deterministic"])
def test_velocities_change_at_bounces_only(process: str) -> None:
    _, places, velocities, bounces = paths(process)
    same = (velocities[1:] == velocities[:-1]).all(-1)
    assert same[~bounces[1:]].all()
    straight = np.isclose(places[1:], places[:-1] + velocities[:-1], atol=1e-9).all(-1)
    assert straight[~bounces[1:]].all()
    assert not straight[bounces[1:]].any()


def test_the_published_rooms() -> None:
    """36 = 64 - 28; and 31, the last place that Denton and Fergus's code gives to 32 pixels."""
    assert (box(64, "srvp").room, box(64, "svg").room) == (36, 31)
    assert (box(32, "srvp").room, box(32, "srvp").digit_side) == (18, 14)


def test_mirrors_reflect() -> None:
    """A mirror's path is a straight one, folded into the frame."""
    within, places, velocities, _ = paths("deterministic")
    straight = places[0] + np.arange(40)[:, None, None] * velocities[0]
    folded = within.room - np.abs(straight % (2 * within.room) - within.room)
    assert np.allclose(places, folded, atol=1e-9)
    assert np.array_equal(np.abs(velocities), np.broadcast_to(np.abs(velocities[0]), places.shape))


def test_mirrors_know_no_frame_rate_and_no_direction_of_time() -> None:
    within, places, velocities, _ = paths("deterministic")
    rng = np.random.default_rng(0)
    twice = walk(places[0], velocities[0] / 2, 79, within, rng)[0]
    assert np.allclose(twice[::2], places, atol=1e-9)
    back = walk(places[-1], -velocities[-1], 40, within, rng)[0]
    assert np.allclose(back[::-1], places, atol=1e-9)


def fan(process: str, start: tuple[float, float], speed: tuple[float, float]) -> tuple:
    """One step of many digits that are all alike: places and velocities after it."""
    within, rng = box(64, process), np.random.default_rng(3)
    many = [np.tile(np.array(pair, float), (COUNT * 5, 1)) for pair in (start, speed)]
    places, velocities, bounces = walk(many[0], many[1], 2, within, rng)
    assert bounces[1].all()
    return places[1], velocities[1]


def shares(values: np.ndarray) -> dict[float, float]:
    """How often each value comes."""
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts / len(values), strict=True))


def alike(found: dict, expected: dict) -> bool:
    """Within four standard errors of a share of 20,000."""
    assert found.keys() == expected.keys()
    return all(
        abs(found[v] - p) < 4 * np.sqrt(p * (1 - p) / (5 * COUNT)) for v, p in expected.items()
    )


def test_a_wall_draws_a_new_velocity_away_from_it() -> None:
    """|uniform on -4..4|: 0 once in nine, as the published code has it. The other axis is free."""
    places, velocities = fan("srvp", (20, 35), (1, 4))  # meets column 36 after a quarter
    ninth = 1 / 9
    assert alike(shares(velocities[:, 0]), {float(v): ninth for v in range(-4, 5)})
    away = {0.0: ninth, -1.0: 2 * ninth, -2.0: 2 * ninth, -3.0: 2 * ninth, -4.0: 2 * ninth}
    assert alike(shares(velocities[:, 1]), away)
    # from where they met, for the time that was left
    assert np.allclose(places, np.array([20.25, 36]) + 0.75 * velocities)


def test_a_corner_has_two_walls() -> None:
    places, velocities = fan("srvp", (2, 34), (-4, 4))
    assert (velocities[:, 0] >= 0).all() and (velocities[:, 1] <= 0).all()
    assert np.allclose(places, np.array([0, 36]) + 0.5 * velocities)


def test_a_step_may_meet_many_walls() -> None:
    within, rng = box(64, "srvp", max_speed=60), np.random.default_rng(0)
    starts = np.full((500, 2), 18.0)
    places, velocities, bounces = walk(starts, within.speeds(rng, (500, 2)), 20, within, rng)
    assert places.min() >= 0 and places.max() <= 36 and np.abs(velocities).max() <= 60
    assert bounces[1:].mean() > 0.5


def test_svg_clamps_and_redraws_never_along_the_wall() -> None:
    places, velocities = fan("svg", (20, 30), (1, 4))
    assert (places == [21, 31]).all()  # the rest of the step is lost in the axis that hit
    assert alike(shares(velocities[:, 1]), {float(-v): 0.25 for v in range(1, 5)})
    assert alike(shares(velocities[:, 0]), {float(v): 1 / 9 for v in range(-4, 5)})


def test_svg_does_columns_after_rows() -> None:
    """In a corner the second redraw is of both components: rows are free again."""
    places, velocities = fan("svg", (1, 30), (-4, 4))
    assert (places == [0, 31]).all()
    assert alike(shares(velocities[:, 0]), {float(v): 1 / 9 for v in range(-4, 5)})
    assert (velocities[:, 1] < 0).all()


def test_futures_of_mirrors_are_the_path_itself() -> None:
    _, places, velocities, _ = paths("deterministic", length=12, side=32)
    at, speed = places[4].reshape(-1, 2, 2), velocities[4].reshape(-1, 2, 2)
    futures = digit_futures(at, speed, steps=7, samples=3, process="deterministic")
    assert futures.shape == (3, COUNT // 2, 7, 2, 2)
    later = places[5:].reshape(7, -1, 2, 2).swapaxes(0, 1)
    assert np.allclose(futures, later[None], atol=1e-9)


def test_futures_have_the_law_of_the_process() -> None:
    """Digits that were alike at a frame, and draws from there: the same mean and spread."""
    within, rng = box(32, "srvp"), np.random.default_rng(1)
    start, speed = np.full((COUNT, 2), [9.0, 16.0]), np.full((COUNT, 2), [0.5, 1.5])
    true = walk(start, speed, 9, within, rng)[0][-1]
    drawn = digit_futures(start[None, :1], speed[None, :1], steps=8, samples=COUNT, seed=2)
    drawn = drawn[:, 0, -1, 0]
    error = np.sqrt((true.var(0) + drawn.var(0)) / COUNT)
    assert (np.abs(true.mean(0) - drawn.mean(0)) < 4 * error).all()
    assert np.allclose(true.std(0), drawn.std(0), rtol=0.06)  # 5 errors of sqrt(1 / 2N)


def test_absent_digits_stay_absent() -> None:
    places, velocities = np.full((1, 2, 2), 3.0), np.ones((1, 2, 2))
    places[:, 1] = velocities[:, 1] = np.nan
    futures = digit_futures(places, velocities, steps=30, samples=2)
    assert np.isfinite(futures[..., 0, :]).all() and np.isnan(futures[..., 1, :]).all()


def test_seed() -> None:
    places, velocities = np.full((5, 1, 2), 17.0), np.ones((5, 1, 2))
    one, same, other = (
        digit_futures(places, velocities, steps=9, samples=4, seed=s) for s in (1, 1, 2)
    )
    assert np.array_equal(one, same) and not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"process": "SRVP"}, "did you mean srvp"),
        ({"side": 7}, "side"),
        ({"max_speed": 0}, "max_speed"),
        ({"max_speed": 65}, "max_speed"),
        ({"digit_side": 32}, "digits smaller than the frame"),
        ({"steps": 0}, "steps"),
        ({"samples": 0}, "samples"),
        ({"places": np.zeros((3, 2))}, "alike"),
        ({"places": np.full((3, 1, 2), 20.0)}, "places from 20 to 20"),
        ({"velocities": np.full((3, 1, 2), np.nan)}, "velocities"),
    ],
)
def test_refused(given: dict, message: str) -> None:
    usual = {"places": np.zeros((3, 1, 2)), "velocities": np.ones((3, 1, 2))}
    with pytest.raises(InputError, match=message) as caught:
        digit_futures(**{**usual, "steps": 2, "samples": 2, **given})
    assert caught.value.cure


def test_a_box_is_a_plain_record() -> None:
    assert box(64) == Box("srvp", 28, 36.0, 1.0, 4)


def test_speeds_are_whole_published_pixels_either_way_or_from_the_least_on() -> None:
    within, rng = box(32, max_speed=3), np.random.default_rng(0)
    assert set(within.speeds(rng, (500,)) / within.unit) == {-3, -2, -1, 0, 1, 2, 3}
    assert set(within.speeds(rng, (500,), least=2) / within.unit) == {2, 3}
