"""CUBE-NM: which rewards fall into the trap of a first measurement that tells nothing by itself.

By the exact posterior, so that whatever goes wrong is the reward's doing. The best policy measures
the context, then its three bits, and knows the label after four measurements (0.95^3 = 86 %).
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from inference.tasks.acquisition import (
    Information,
    LookAhead,
    TargetInformation,
    Variance,
    acquire,
)
from ppl_models.data import cube
from tests.inference.tasks.acquisition.toys import cube_predictor

SIZE = 100
LABEL = ["label"]


def played(reward: Any) -> tuple[torch.Tensor, float]:
    """The columns' order, and how often the label is right after four measurements."""
    data = cube(SIZE, seed=1)
    predictor, x = cube_predictor(5, 3, 0.05), data.x.double()
    predictor.table.names = data.names
    order = acquire(predictor, x, reward, acquirable=data.names[:-1], steps=4).order
    known = torch.zeros_like(x, dtype=torch.bool).scatter(1, order, True)
    label = predictor.draws(x, known).expected[:, -8:].argmax(1)
    return order, float((label == x[:, -1]).double().mean())


@pytest.mark.parametrize(
    "reward",
    [Information(), Variance("epistemic"), LookAhead(error="means"), LookAhead(units="data")],
    ids=["information about z", "epistemic variance", "look-ahead of means", "look-ahead, data"],
)
def test_rewards_that_count_the_context_itself_begin_with_it(reward: Any) -> None:
    order, right = played(reward)
    assert (order[:, 0] == 0).all()
    assert right > 0.75  # 86 %, less three standard errors of 100 people


@pytest.mark.parametrize(
    "reward",
    [TargetInformation(LABEL), LookAhead(LABEL), LookAhead()],
    ids=["information about the label", "look-ahead to the label", "look-ahead"],
)
def test_one_step_rewards_about_the_label_lose_a_measurement_to_the_trap(reward: Any) -> None:
    """Alone the context tells nothing of the label: they try a block first, then the context."""
    order, right = played(reward)
    assert (order[:, 0] != 0).all() and (order[:, 1] == 0).all()
    assert right < 0.65


@pytest.mark.parametrize("units", ["standard", "data"])
def test_the_total_variance_runs_after_coin_flips(units: Any) -> None:
    _, right = played(Variance(units=units))
    assert right < 0.35
