from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from inference.metrics.ensembles import LEVELS, crps, region_coverage
from inference.metrics.futures import future_calibration
from ppl_models.data import digit_futures
from ppl_models.errors import InputError
from tests.cures import tried
from tests.inference.metrics.test_ensembles import normal


def walls(clips: int, draws: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Futures of the true law, a truth from it, and whether that one has met a wall."""
    rng = np.random.default_rng(seed)
    places = rng.integers(0, 37, (clips, 1, 2)) / 2
    velocities = rng.integers(-4, 5, (clips, 1, 2)) / 2
    every = digit_futures(places, velocities, steps=12, samples=draws + 1, seed=seed)[..., 0, :]
    straight = places + np.arange(1, 13)[:, None] * velocities
    bounced = ((straight < -1e-6) | (straight > 18 + 1e-6)).any(-1)
    return every[1:], every[0], bounced


def test_draws_of_the_true_law_are_calibrated_after_a_bounce_and_exact_before() -> None:
    samples, truth, bounced = walls(300, 50)
    found = future_calibration(samples, truth, bounced, exact=(samples, truth))
    assert found.levels == LEVELS and found.exact_after == found.after
    assert found.before.frames + found.after.frames == 300 * 12
    assert found.before.crps < 1e-9 and found.before.energy < 1e-9
    assert np.allclose(found.before.coverage, LEVELS, atol=0.01)
    for level, held, error in zip(
        LEVELS, found.after.coverage, found.after.coverage_error, strict=True
    ):
        assert abs(held - level) < 4 * error and 0 < error < 0.05
    straight = truth[:, :1].repeat(12, 1)[None].repeat(50, 0)  # stands still, and is sure of it
    wrong = future_calibration(straight, truth, bounced, exact=(samples, truth))
    assert wrong.after.coverage[1] < 0.3 and wrong.exact_after == found.after
    assert wrong.after.energy - found.after.energy > 4 * wrong.after.energy_error


def test_coverage_at_a_resolution_forgives_what_is_much_smaller() -> None:
    samples, truth, bounced = walls(200, 30)
    aside = samples + 0.1  # pixels
    strict, tolerant, wide = (
        future_calibration(aside, truth, bounced, resolution=pixels).before
        for pixels in (0.0, 1.0, 0.1)
    )
    assert strict.coverage == (0, 0, 0)
    error = tolerant.coverage_error
    # a shift of a tenth of the noise costs 0.2 % of 50 % and less; errors are those of clips
    for level, held, sd in zip(LEVELS, tolerant.coverage, error, strict=True):
        assert abs(held - level) < 4 * sd + 0.01
    assert wide.coverage[0] < 0.45  # a shift as large as the noise is seen
    assert strict.crps == tolerant.crps
    again = future_calibration(aside, truth, bounced, resolution=1.0)
    assert again.before == tolerant
    other = future_calibration(aside, truth, bounced, resolution=1.0, seed=1)
    assert other.before.coverage != tolerant.coverage


def test_errors_are_those_of_clips_not_of_frames() -> None:
    """Frames of one clip that are copies of each other say no more than one."""
    generator = torch.Generator().manual_seed(0)
    truth, samples = normal(generator, 200, 1), normal(generator, 20, 200, 1)
    one = future_calibration(samples, truth, torch.ones(200, 1, dtype=torch.bool))
    copies = future_calibration(
        samples.expand(20, 200, 6, 2), truth.expand(200, 6, 2), torch.ones(200, 6, dtype=torch.bool)
    )
    assert math.isclose(one.after.crps_error, copies.after.crps_error, rel_tol=1e-9)
    exact = float(crps(samples, truth).mean(-1).std() / math.sqrt(200))
    assert math.isclose(one.after.crps_error, exact, rel_tol=1e-9)
    assert one.after.clips == copies.after.clips == 200 and copies.after.frames == 1200
    plain = region_coverage(samples, truth, (0.7,), bandwidth=0.3)
    found = future_calibration(
        samples, truth, torch.ones(200, 1, dtype=torch.bool), levels=(0.7,), bandwidth=0.3
    )
    assert found.levels == (0.7,) and math.isclose(found.after.coverage[0], plain.mean())
    none = one.before
    assert none.frames == 0 and math.isnan(none.crps) and all(map(math.isnan, none.coverage))


def test_what_is_wrong_is_named() -> None:
    generator = torch.Generator().manual_seed(0)
    truth, samples = normal(generator, 4, 3), normal(generator, 5, 4, 3)
    met = torch.zeros(4, 3, dtype=torch.bool)
    absent = truth.clone()
    absent[1] = math.nan
    with pytest.raises(InputError, match="absent") as caught:
        future_calibration(samples, absent, met)
    (mended,) = tried(caught.value, samples=samples, truth=absent)
    assert torch.equal(mended, samples[:, [0, 2, 3]])
    with pytest.raises(InputError, match="absent") as caught:
        future_calibration(samples.numpy(), absent.numpy(), met)
    (mended,) = tried(caught.value, samples=samples, truth=absent.numpy(), np=np)
    assert torch.equal(mended, samples[:, [0, 2, 3]])
    for wrong in (met[:, :2], met.float()):
        with pytest.raises(InputError, match="bounced: saw"):
            future_calibration(samples, truth, wrong)
    with pytest.raises(InputError, match="resolution"):
        future_calibration(samples, truth, met, resolution=-1)
