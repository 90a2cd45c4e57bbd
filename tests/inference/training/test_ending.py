"""What a run says of how it ended: weights that never moved, a bound that still rises."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from inference import fit
from inference.training.ending import mark_of, risen, still_rising
from inference.training.run_folder import Progress
from tests import pairs
from tests.inference.training.fitting import QUIET, conjugate, data

EPOCHS = list(range(1, 31))


def progress(bounds: Any, error: float = 0.1) -> Progress:
    rows = [{"epoch": e, "bound": b, "bound_se": error} for e, b in enumerate(bounds, 1)]
    return Progress(epoch=len(rows), history=rows)


# -- weights that never moved ----------------------------------------------------------------------


def test_a_fit_in_which_nothing_changed_says_so() -> None:
    """A rate of 1e-30 moves no float32."""
    run = fit(*conjugate(), data(), epochs=2, learning_rate=1e-30, **QUIET)
    assert "no weight of the model or the guide moved" in str(run)


def test_the_half_of_a_pair_that_did_not_move_is_named() -> None:
    class Guide(pairs.ConjugateGuide):
        def forward(self, x: Tensor | None = None, size: int = 1) -> None:
            with torch.no_grad():
                super().forward(x, size)

    run = fit(Moving(), Guide(), data(), epochs=2, **QUIET)
    assert any("No weight of the guide moved" in note for note in run.notes)
    assert not fit(Moving(), pairs.ConjugateGuide(), data(), epochs=2, **QUIET).notes


class Moving(nn.Module):
    """`pairs.Conjugate` with a mean to learn."""

    def __init__(self, extra: bool = False) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(()))
        if extra:
            self.unused = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor | None = None, size: int = 1) -> None:
        with pyro.plate("data", size if x is None else len(x)):
            z = pyro.sample("z", dist.Normal(self.mean, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def test_single_weights_that_no_gradient_reaches_are_named() -> None:
    run = fit(Moving(extra=True), pairs.ConjugateGuide(), data(), epochs=2, **QUIET)
    assert "These weights never moved: model.unused" in run.notes[0]


def test_no_step_no_word_of_weights() -> None:
    assert not fit(*conjugate(), data(), epochs=0, **QUIET).notes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_a_mark_changes_with_any_number(dtype: torch.dtype) -> None:
    value = torch.arange(12, dtype=dtype).reshape(3, 4)
    other = value.clone()
    other[1, 2] = 6.5
    assert mark_of(value) == mark_of(value.clone()) != mark_of(other)
    assert mark_of(torch.tensor(1.0)) != mark_of(torch.tensor(2.0))
    assert mark_of(torch.zeros(0)) == 0


# -- a bound that still rises ----------------------------------------------------------------------


def test_a_bound_on_a_straight_way_up_is_rising() -> None:
    """A line of 0.1 an epoch, with noise of 0.02: ten epochs rise by 0.9, to its scatter."""
    noise = 0.02 * np.random.default_rng(0).standard_normal(30)
    said = still_rising(progress(0.1 * np.arange(30) + noise))
    rise = risen(list(range(10)), list((0.1 * np.arange(30) + noise)[-10:]))
    assert "still rising" in said and "9 epochs" in said and f"{rise:.2g}" in said
    assert abs(rise - 0.9) < 0.1


@pytest.mark.parametrize("follow", [0.0, 0.8])
def test_a_bound_that_only_scatters_is_said_to_rise_hardly_ever(follow: float) -> None:
    """Of 400 runs that converged, with noise that follows itself or not, at most one in twenty."""
    generator, count = np.random.default_rng(1), 0
    for _ in range(400):
        noise = generator.standard_normal(60)
        for i in range(1, 60):
            noise[i] += follow * noise[i - 1]
        count += risen(list(range(60)), list(noise)[:60]) > 0
    assert count <= 20


def test_a_bound_that_has_come_to_rest_is_not_rising() -> None:
    settled = [-math.exp(-e / 4) for e in range(60)]  # e^-10 from its limit
    assert not still_rising(progress(settled))
    assert not still_rising(progress([-2.0] * 30))
    assert not still_rising(progress([-0.1 * e for e in EPOCHS]))


def test_a_rise_below_a_tenth_of_the_standard_error_is_not_told() -> None:
    line = [0.001 * e for e in EPOCHS]
    assert not still_rising(progress(line, error=0.1))
    assert still_rising(progress(line, error=0.01))


def test_few_reports_say_nothing() -> None:
    assert not still_rising(progress([1.0, 2.0, 3.0, 4.0]))


def test_a_fit_that_is_too_short_says_so_and_a_long_one_does_not() -> None:
    short = fit(*conjugate(), data(256), epochs=12, learning_rate=0.003, **QUIET)
    assert "still rising" in str(short)
    long = fit(*conjugate(exact=True), data(256), epochs=12, learning_rate=1e-4, **QUIET)
    assert "still rising" not in str(long)


def test_a_mark_goes_on_from_the_one_before() -> None:
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([3.0])
    assert mark_of(b, mark_of(a)) == mark_of(torch.cat([a, b])) != mark_of(a, mark_of(b))
