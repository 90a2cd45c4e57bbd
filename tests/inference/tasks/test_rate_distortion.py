from __future__ import annotations

import math
import signal

import pytest
import torch

from inference.diagnostics.curve import Curve, Point
from inference.errors import CheckpointError
from inference.objectives.target_rate import TargetRate
from inference.tasks.rate_distortion import rate_distortion
from ppl_models.errors import InputError
from tests.pairs import Conjugate, ConjugateGuide

NOISE, PRIOR = 0.25, 4.0  # variances of Conjugate
HOW = {"epochs": 60, "batch_size": 100, "learning_rate": 0.1, "num_samples": 200, "progress": False}


def data(size: int = 100) -> torch.Tensor:
    return math.sqrt(4.25) * torch.randn(size, generator=torch.Generator().manual_seed(1))


def frozen_pair():
    model = Conjugate()
    model.requires_grad_(False)
    return model, ConjugateGuide()


def exact(beta: float, x: torch.Tensor) -> tuple[float, float]:
    """R and D of the best guide of D + beta R: the posterior with beta times the noise."""
    variance = 1 / (1 / PRIOR + 1 / (beta * NOISE))
    slope = variance / (beta * NOISE)
    rate = 0.5 * ((slope * x) ** 2 / PRIOR + variance / PRIOR - 1 - math.log(variance / PRIOR))
    squares = ((1 - slope) * x) ** 2 + variance
    distortion = 0.5 * (math.log(2 * math.pi * NOISE) + squares / NOISE)
    return float(rate.mean()), float(distortion.mean())


@pytest.mark.usefixtures("untouched")
def test_the_whole_curve_of_a_linear_gaussian_channel():
    x = data()
    curve = rate_distortion(frozen_pair, x, betas=(0.25, 1, 4), **HOW)
    assert [p.name for p in curve.points] == ["beta 4", "beta 1", "beta 0.25"]
    for point in curve.points:
        rate, distortion = exact(point.beta, x)
        # 200 draws of 100 data: 0.01; Adam's last steps, of noise 0.1, leave the rest
        assert point.rate == pytest.approx(rate, abs=0.06)
        assert point.distortion == pytest.approx(distortion, abs=0.12)
    assert curve.monotone and curve.best is curve.tangent
    assert len(curve.hull) == 3
    assert "D + R is least at beta = 1" in str(curve)


def test_a_target_rate_is_met():
    target = TargetRate(0.8, step=0.1)
    curve = rate_distortion(frozen_pair, data(), [target], **HOW)
    (point,) = curve.points
    assert point.name == "rate 0.8"
    assert point.rate == pytest.approx(0.8, rel=0.15)
    assert point.beta > 1  # less than beta 1's rate of 1.4 has to be asked for


def test_an_interrupted_sweep_resumes_to_the_same_numbers(tmp_path):
    how = {**HOW, "epochs": 4, "num_samples": 20, "betas": (0.5, 2)}
    whole = rate_distortion(frozen_pair, data(), **how)
    calls = []

    def interrupt(step, loss):
        calls.append(step)
        if len(calls) == 6:  # in the second member
            signal.raise_signal(signal.SIGINT)

    part = rate_distortion(frozen_pair, data(), directory=tmp_path, on_step=interrupt, **how)
    assert part.interrupted and len(part.points) == 1 and "call again" in str(part)
    steps = len(calls)
    rest = rate_distortion(frozen_pair, data(), directory=tmp_path, on_step=interrupt, **how)
    assert rest == whole
    assert len(calls) - steps == 2  # what was done is not done again
    with pytest.raises(CheckpointError):
        rate_distortion(frozen_pair, 2 * data(), directory=tmp_path, **how)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({}, "0 target rates and 0 betas"),
        ({"betas": (1, 1.0)}, "no two the same"),
        ({"betas": (1,), "validation": 0.1}, "judges last weights"),
    ],
)
def test_a_sweep_that_makes_no_sense_says_so(named, words):
    with pytest.raises(InputError, match=words):
        rate_distortion(frozen_pair, data(), **named)


def point(rate: float, distortion: float, name: str = "", error: float = 0.01) -> Point:
    bound = -rate - distortion
    return Point(
        name,
        1.0,
        rate,
        error,
        distortion,
        error,
        bound,
        error,
        train_rate=rate,
        train_distortion=distortion,
    )


def test_the_hull_and_the_running_mean():
    curve = Curve((point(0, 10), point(1, 9.5), point(2, 6), point(4, 5), point(5, 5.5)))
    assert [p.rate for p in curve.hull] == [0, 2, 4]
    assert not curve.monotone and "not always" in curve.findings()[0]
    means = curve.running_mean(3)
    assert means[0] == (0, 10) and means[1] == pytest.approx((1, 25.5 / 3))
    with pytest.raises(ValueError, match="window"):
        curve.running_mean(0)


def test_findings_on_the_tangent_and_the_floor():
    curve = Curve((point(1, 9, "beta 1"), point(2, 7, "beta 0.5")), entropy=9.5)
    words = " ".join(curve.findings())
    assert "beta 0.5, 1.000 nats under beta = 1, more than 2 s.e." in words
    assert "cannot be: beta 0.5" in words
    assert "not in the family" in " ".join(Curve((point(1, 2, "rate 1"),)).findings())
    assert Curve(()).findings() == ["No member is done."]


def test_the_curve_is_drawn():
    points = tuple(point(r, 20 - 2 * r + 0.08 * r * r, f"beta {r}") for r in range(11))
    ax = Curve(points, entropy=6.0).plot()
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "hull" in labels and "running mean" in labels and "D + R = H(x)" in labels


def test_a_target_that_was_not_reached_is_said() -> None:
    """Its row is of another rate; two such rows may look the same."""
    values = (0.2, 0.1, 9.0, 0.1, -9.2, 0.1)
    missed = [Point(f"rate {t:g}", 1e-4, *values, 0.2, 9.0, t) for t in (1.0, 4.0)]
    text = str(Curve(tuple(missed)))
    assert "No target rate was reached: rate 1 (0.2 on training data), rate 4 (0.2" in text
    assert "train for longer" in text
    near = Point("rate 0.21", 1.0, *values, 0.2, 9.0, 0.21)
    assert "Not reached: rate 4 (0.2" in str(Curve((near, missed[1])))
    assert "reached" not in str(Curve((near, Point("beta 1", 1.0, *values, 0.2, 9.0))))
