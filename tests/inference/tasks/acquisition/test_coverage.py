"""Coverage of intervals: of a model on its own data, and of one that is too sure."""

from __future__ import annotations

import pytest
import torch

from inference.randomness import seeded
from inference.tasks.acquisition import PPCAPredictor, interval_coverage
from ppl_models import PPCA
from ppl_models.errors import InputError

LEVELS = (0.5, 0.8, 0.95)


def people(size: int = 400) -> tuple[PPCA, torch.Tensor, torch.Tensor]:
    """Rows of a linear model, of which two columns of six were measured."""
    with seeded(0):
        model = PPCA(6, 2)
        x = model(size=size).detach()
    known = torch.zeros(size, 6, dtype=torch.bool)
    known[:, [1, 4]] = True
    return model, x, known


def test_a_model_covers_its_own_data() -> None:
    """1,600 values: three standard errors of their shares, which people's z joins, are 0.05."""
    model, x, known = people()
    inside = interval_coverage(PPCAPredictor(model), x, known, LEVELS, num_samples=400, seed=3)
    assert inside.shape == (3, 400, 6) and inside.dtype is torch.bool
    shares = inside[:, ~known].double().mean(1)
    assert torch.allclose(shares, torch.tensor(LEVELS).double(), atol=0.05)
    assert bool((inside[0] <= inside[1]).all()) and bool((inside[1] <= inside[2]).all())


def test_a_model_that_is_too_sure_covers_less() -> None:
    model, x, known = people()
    with torch.no_grad():
        model.log_scale.sub_(0.7)
        model.weight.mul_(0.5)
    shares = interval_coverage(PPCAPredictor(model), x, known, num_samples=200)[:, ~known]
    assert (shares.double().mean(1) < torch.tensor(LEVELS) - 0.1).all()


def test_what_was_not_measured_reaches_nothing_but_the_comparison() -> None:
    model, x, known = people(8)
    other = torch.where(known, x, torch.nan)
    inside = interval_coverage(PPCAPredictor(model), other, known)
    assert not inside[:, ~known].any()  # NaN is in no interval
    whole = interval_coverage(PPCAPredictor(model), x, known)
    assert torch.equal(inside[:, known], whole[:, known])


@pytest.mark.parametrize("levels", [(), (0.0,), (1.0,), (80,)])
def test_levels_are_probabilities(levels: tuple[float, ...]) -> None:
    model, x, known = people(4)
    with pytest.raises(InputError, match="levels"):
        interval_coverage(PPCAPredictor(model), x, known, levels)
