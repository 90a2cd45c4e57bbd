from __future__ import annotations

import pickle

import pytest

from inference.schedules import constant, cosine, cyclical, linear


def test_constant() -> None:
    assert constant(0.3)(0) == constant(0.3)(10_000) == 0.3


def test_linear_rises_and_stays() -> None:
    schedule = linear(100, start=0.2, end=1.0)
    assert schedule(0) == 0.2
    assert schedule(50) == pytest.approx(0.6)
    assert schedule(100) == schedule(10**9) == 1.0


def test_cyclical_starts_again_each_period() -> None:
    schedule = cyclical(10, ratio=0.5)
    cycle = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert [schedule(step) for step in range(20)] == pytest.approx(cycle * 2)


def test_cosine_rises_then_falls_to_its_end() -> None:
    schedule = cosine(100, 0.01, 0.001, warmup=10)
    assert schedule(4) == pytest.approx(0.005)
    assert max(schedule(step) for step in range(200)) == schedule(10) == pytest.approx(0.01)
    assert schedule(55) == pytest.approx(0.0055)
    assert schedule(100) == schedule(10**6) == pytest.approx(0.001)


SCHEDULES = constant(2.0), linear(7, 0.1), cyclical(9, 0.25), cosine(9, 1e-3)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_are_values(schedule: object) -> None:
    copy = pickle.loads(pickle.dumps(schedule))
    assert copy == schedule and hash(copy) == hash(schedule)
    assert repr(schedule).endswith(")") and " at 0x" not in repr(schedule)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: constant(-0.1), "weight is -0.1"),
        (lambda: linear(0), "steps is 0"),
        (lambda: linear(5, start=-1), "start is -1"),
        (lambda: linear(5, end=float("nan")), "end is nan"),
        (lambda: cyclical(0), "period is 0"),
        (lambda: cyclical(5, ratio=1.5), "ratio is 1.5.*at most 1"),
        (lambda: cyclical(5, ratio=0), "ratio is 0"),
    ],
)
def test_bad_settings(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_linear_may_wait_before_it_rises() -> None:
    """The KL weight of SV2P: nothing up to a step, then a line."""
    schedule = linear(20, end=0.1, wait=100)
    assert schedule(0) == schedule(100) == 0.0
    assert schedule(110) == pytest.approx(0.05)
    assert schedule(120) == schedule(10**6) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="wait is -1"):
        linear(20, wait=-1)
