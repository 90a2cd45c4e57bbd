"""Tracklets join what is beyond doubt, and nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch.distributions import MultivariateNormal

from inference.tasks.tracking.kalman import FloatArray, Motion
from inference.tasks.tracking.tracklets import Clip, Settings, Tracklet, object_scale, tracklets
from ppl_models.linear_motion import LinearMotion
from tests.dense import covariance
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


@pytest.mark.parametrize(("side", "length"), [(0.98, 2), (1.02, 1)])
@pytest.mark.parametrize("coordinate", [0, 2])
def test_the_gate_is_relative_to_noise_of_the_objects_size(
    coordinate: int, side: float, length: int
) -> None:
    """A second detection just inside the gate is joined, just outside it begins a new tracklet.

    The score is -1/2 sum_d (e_d^2 / v_d + log v_d / u_d^2), with v_d the variance of what is
    predicted, and u_d a detection's deviation were it as wide as high: 4 % of 100 pixels, and 0.04.
    """
    motion, settings = Motion(LinearMotion(), 2, 1.0), Settings()
    size, unit = np.array([[40.0, 100.0, 1.0, 1.0]]), np.array([[100.0, 100.0, 1.0, 1.0]])
    o, noise = np.array([[300.0, 500.0, 3.7, 4.6]]), (0.04 * size) ** 2
    ahead = motion.predict(motion.begin(o, noise, unit), np.array([1]), unit)
    total = (ahead.ss + noise)[0]
    rest = np.log(total / (0.04 * unit[0]) ** 2).sum()
    error = np.zeros(4)
    error[coordinate] = side * math.sqrt(total[coordinate] * (-2 * settings.gate - rest))
    boxes = np.stack([o, o + error])  # (T, K, D)
    clip = Clip(boxes, np.ones((2, 1), bool), np.tile(size, (2, 1, 1)), -20.0)
    assert len(tracklets(clip, motion, settings)[0].frames) == length


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_tracklets_fit_is_the_density_of_a_dense_gaussian(scale: float) -> None:
    """Of its detections after the first, given the first: gaps, sizes, units and noises and all."""
    frames, there = 14, [0, 1, 2, 4, 5, 9, 10, 13]
    prior = LinearMotion()
    motion, settings = Motion(prior, frames, scale), Settings(motion_scale=scale, patience=6)
    draw = np.random.default_rng(3)
    o = np.cumsum(draw.normal(size=(frames, 1, 4)) * [1.5, 1.0, 0.01, 0.01], 0)
    o += [300.0, 500.0, 3.7, 4.6]
    size = np.tile([40.0, 100.0, 1.0, 1.0], (frames, 1, 1))
    size[..., :2] *= draw.uniform(0.9, 1.1, (frames, 1, 1))
    mask = np.isin(np.arange(frames), there)[:, None]
    [run] = tracklets(Clip(o, mask, size, -20.0), motion, settings)
    assert run.frames == there
    constants = [x.exp() for x in (prior.log_speed, prior.log_speed_noise)]
    model = LinearMotion(
        constants[0].tolist(),
        (scale * constants[1]).tolist(),
        (scale * prior.log_position_noise.exp()).tolist(),
        prior.decay.tolist(),
        start_scale=100.0,
    )
    paths, total = covariance(model, frames)[:, frames:, frames:].numpy(), 0.0
    for d, unit in enumerate([size[0, 0, 1], size[0, 0, 1], 1.0, 1.0]):
        cov = paths[d][np.ix_(there, there)] * unit**2
        cov = cov + np.diag((settings.noise * size[there, 0, d]) ** 2)
        seen = torch.as_tensor(o[there, 0, d])
        middle = seen[:1].expand(len(there))
        total += MultivariateNormal(middle, torch.as_tensor(cov)).log_prob(seen).item()
        total -= norm.logpdf(0.0, 0.0, math.sqrt(cov[0, 0]))
    assert np.isclose(run.fit, total, atol=1e-3)  # the start is all but flat
