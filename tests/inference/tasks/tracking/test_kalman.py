"""The linear prior in NumPy is that of the model: over any gap, and given detections."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from guides.dvae.motion_filter import Evidence
from guides.linear_motion import LinearMotionGuide
from inference.tasks.tracking.kalman import Belief, Motion
from ppl_models.linear_motion import LinearMotion


def states(count: int = 5) -> Belief:
    draw = np.random.default_rng(0)
    s, z, noise = draw.normal(size=(3, count, 4))
    ss, zz = draw.uniform(0.5, 2, (2, count, 4))
    return Belief(s, z, ss, 0.3 * noise.clip(-1, 1), zz)


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_a_gap_is_its_frames_one_by_one(scale: float) -> None:
    motion, size = Motion(LinearMotion(), 30, scale), np.linspace(0.5, 2, 20).reshape(5, 4)
    one = np.ones(5, np.int64)
    stepwise = states()
    for _ in range(30):
        stepwise = motion.predict(stepwise, one, size)
    at_once = motion.predict(states(), 30 * one, size)
    course = motion.course(states().turned().columns(slice(2, 3)), slice(31), size[2:3])
    for name in ("s", "z", "ss", "sz", "zz"):
        assert np.allclose(getattr(at_once, name), getattr(stepwise, name))
        assert np.allclose(getattr(course, name)[:, 0, 30], getattr(at_once, name)[2])
        assert np.allclose(getattr(course, name)[:, 0, 0], getattr(states(), name)[2])


def test_filter_is_that_of_the_guide() -> None:
    """One path with gaps: the guide's causal means, variances and the detections' density."""
    model, frames = LinearMotion(start_scale=1e4).double(), 25
    draw = np.random.default_rng(1)
    o, noise = draw.normal(size=(frames, 4)).cumsum(0) * 0.05, draw.uniform(0.01, 0.1, (frames, 4))
    there = np.flatnonzero((draw.random(frames) > 0.4) | (np.arange(frames) == 0))
    motion, unit = Motion(model, frames, 1.0), np.ones((1, 4))
    belief, total, last = motion.begin(o[:1], noise[:1] ** 2, unit), 0.0, 0
    for t in there[1:]:
        ahead = motion.predict(belief, np.array([t - last]), unit)
        belief, fit = ahead.learn(o[t : t + 1], noise[t : t + 1] ** 2)
        total, last = total + fit[0], t
    precision = np.zeros((frames, 4))
    precision[there] = 1 / noise[there] ** 2
    detections = Evidence(*(torch.as_tensor(x) for x in (precision, precision * o)))
    q = LinearMotionGuide(model, causal=True).source_posterior(detections)
    # the guide's start is all but flat, 1e4: it knows 1e-8 more
    assert np.allclose(belief.s[0], q.mean[last], atol=1e-6)
    assert np.allclose(belief.ss[0], q.variance[last], rtol=1e-6)
    smooth = LinearMotionGuide(model).source_posterior(detections)
    mean, variance = smooth.mean.numpy(), smooth.variance.numpy()
    inside = norm.logpdf(o, mean, noise) - 0.5 * variance / noise**2
    evidence = inside[there].sum() - float(smooth.rate)
    first = norm.logpdf(o[0], 0, np.sqrt(1e8 + noise[0] ** 2)).sum()
    assert np.isclose(evidence - first, total, atol=1e-4)


def test_put_take_and_join() -> None:
    belief, other = states(), states(2)
    belief.put(np.array([1, 3]), other)
    taken = belief.take(np.array([3, 0]))
    assert np.array_equal(taken.s[0], other.s[1]) and np.array_equal(taken.s[1], states().s[0])
    joined = Belief.empty(4).join(other)
    assert np.array_equal(joined.zz, other.zz)
