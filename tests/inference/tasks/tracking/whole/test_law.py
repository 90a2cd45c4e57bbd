"""Motion against the matrix exponential, densities against quadrature, learning against Kalman."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import expm

from inference.tasks.tracking.whole.law import LINKING, MATCHING, MotionLaw, log_normal
from tests.inference.tasks.tracking.whole.made import same, states

UNIT = np.linspace(0.5, 2, 20).reshape(5, 4)
ONE = np.ones((1, 4))


@pytest.mark.parametrize("law", [MATCHING, LINKING])
@pytest.mark.parametrize("seconds", [0.03, 0.7, 4.0])
def test_carry_is_the_exact_integral_of_white_acceleration(law: MotionLaw, seconds: float) -> None:
    """Van Loan's matrix exponential gives transition and noise of the stochastic equation."""
    now = states()
    after = law.carry(now, np.full(5, seconds), UNIT)
    for a in range(5):
        for d in range(4):
            drift = np.array([[0.0, 1.0], [0.0, 0.0]])
            white = np.diag([0.0, (law.change[d] * UNIT[a, d]) ** 2])
            block = expm(seconds * np.block([[-drift, white], [np.zeros((2, 2)), drift.T]]))
            step = block[2:, 2:].T
            before = np.array([[now.ss[a, d], now.sz[a, d]], [now.sz[a, d], now.zz[a, d]]])
            cov = step @ before @ step.T + step @ block[:2, 2:]
            mean = step @ [now.s[a, d], now.z[a, d]]
            assert np.allclose([after.s[a, d], after.z[a, d]], mean)
            found = [after.ss[a, d], after.sz[a, d], after.zz[a, d]]
            assert np.allclose(found, [cov[0, 0], cov[0, 1], cov[1, 1]])


def test_two_steps_are_one_as_long() -> None:
    short, long = np.linspace(0.0, 0.4, 5), np.linspace(1.0, 0.2, 5)
    twice = MATCHING.carry(MATCHING.carry(states(), short, UNIT), long, UNIT)
    assert same(twice, MATCHING.carry(states(), short + long, UNIT))
    assert same(MATCHING.carry(states(), np.zeros(5), UNIT), states())


@pytest.mark.parametrize("outliers", [0.03, 0.2, 0.9])
def test_densities_integrate_to_one(outliers: float) -> None:
    """By the trapezium rule, whose error on smooth tails is far below the tolerance."""
    law = replace(MATCHING, outliers=outliers)
    error = np.linspace(-40, 40, 200_001)[:, None] * np.ones(4)
    variance = law.variance(UNIT[3])
    density = np.exp(law.log_density(error, variance, UNIT[3]))
    assert np.allclose(np.trapezoid(density, error[:, 0], axis=0), 1, atol=1e-6)
    normal = np.exp(log_normal(error, variance))
    assert np.allclose(np.trapezoid(normal, error[:, 0], axis=0), 1, atol=1e-6)


def test_large_errors_are_likelier_the_more_outliers_there_are() -> None:
    few, many = (replace(MATCHING, outliers=share) for share in (0.01, 0.5))
    wide, variance = replace(few, spread=(2.0, 2.0, 2.0, 2.0)), few.variance(ONE)
    far, near = np.ones((1, 4)), np.zeros((1, 4))
    assert (many.log_density(far, variance, ONE) > few.log_density(far, variance, ONE)).all()
    assert (many.log_density(near, variance, ONE) < few.log_density(near, variance, ONE)).all()
    assert (wide.log_density(far, variance, ONE) > few.log_density(far, variance, ONE)).all()


def test_without_outliers_one_learns_as_kalman_does() -> None:
    law, ahead = replace(MATCHING, outliers=1e-14), states()
    o = ahead.s + 0.3 * np.random.default_rng(1).standard_normal((5, 4))
    known, _ = ahead.learn(o, law.variance(UNIT))
    assert same(law.learn(ahead, o, UNIT), known, 1e-6)  # the share's own size, times a ratio


def test_a_large_error_moves_little_and_a_small_one_much() -> None:
    begin = MATCHING.begin(np.zeros((1, 4)), ONE)
    for error, low, high in ((0.03, 0.4, 0.5), (1.0, 0.0, 0.05)):
        moved = MATCHING.learn(begin, np.full((1, 4), error), ONE).s / error
        assert (low <= moved).all() and (moved <= high).all()


def test_an_error_beyond_all_bounds_is_finite() -> None:
    learned = MATCHING.learn(MATCHING.begin(np.zeros((1, 4)), ONE), np.full((1, 4), 1e8), ONE)
    assert all(np.isfinite(part).all() for part in learned.parts())


def test_a_first_detection_is_known_to_its_noise_and_its_velocity_to_the_prior() -> None:
    law = replace(LINKING, speed=(1.0, 2.0, 3.0, 4.0))
    begin = law.begin(np.ones((1, 4)), 2 * ONE)
    assert np.allclose(begin.ss, (2 * np.array(law.noise)) ** 2)
    assert np.allclose(begin.zz, (2 * np.arange(1, 5)) ** 2)
    assert (begin.s == 1).all() and (begin.z == 0).all() and (begin.sz == 0).all()
