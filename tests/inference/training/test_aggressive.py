"""Aggressive updates: whose turn it is, when they end, and that the guide keeps up."""

from __future__ import annotations

import copy
import math
from typing import Any

import pyro
import pytest
import torch
from torch import Tensor, nn

from inference import Objective
from inference.training.aggressive import Aggressive
from ppl_models.errors import InputError
from tests import pairs


def turns(updates: Aggressive, losses: list[float]) -> list[str]:
    seen = []
    for step, loss in enumerate(losses):
        seen.append(updates.turn(step))
        updates.after_step(loss)
    return seen


def test_the_guide_moves_until_a_block_is_no_lower_then_the_model_once() -> None:
    falling = [4.0, 4.0, 3.0, 3.0, 3.0, 3.0]  # blocks of two: 4, 3, 3
    updates = Aggressive(most=100, check=2)
    assert turns(updates, [*falling, 9.0, *falling]) == ["guide"] * 6 + ["model"] + ["guide"] * 6
    assert updates.turn() == "model"


def test_a_block_is_judged_by_its_mean() -> None:
    """One bad batch in a falling block does not end the guide's turn."""
    updates = Aggressive(most=100, check=4)
    assert turns(updates, [5.0] * 4 + [1.0, 8.0, 1.0, 1.0]) == ["guide"] * 8
    assert updates.turn() == "guide"


def test_the_guide_has_so_many_steps_at_most() -> None:
    updates = Aggressive(most=7, check=3)
    losses = [float(-i) for i in range(16)]
    assert turns(updates, losses) == (["guide"] * 7 + ["model"]) * 2


def after(updates: Aggressive, *information: float, model_steps: int = 1) -> list[str]:
    """The mode after each look; every epoch holds so many steps of the model."""
    modes = []
    for value in information:
        while updates._at["model_steps"] - updates._at["looked"] < model_steps:
            updates.after_step(0.0)
        updates.after_epoch(lambda value=value: value)
        modes.append(updates.mode)
    return modes


def test_the_first_drop_of_the_information_ends_it() -> None:
    updates = Aggressive(most=4, check=2, look=1)
    assert after(updates, 0.1, 0.5, 0.9, 0.8) == ["aggressive"] * 3 + ["joint"]
    assert updates.turn() == "both"
    assert [row["information"] for row in updates.history] == [0.1, 0.5, 0.9, 0.8]
    assert [row["mode"] for row in updates.history] == ["aggressive"] * 3 + ["joint"]


def test_patience_waits_for_so_many_looks_below_the_best() -> None:
    updates = Aggressive(most=4, check=2, look=1, patience=2)
    assert after(updates, 0.5, 0.4, 0.6, 0.5, 0.55)[-2:] == ["aggressive", "joint"]


def test_no_climb_is_a_stop() -> None:
    assert after(Aggressive(most=4, check=2, look=1), 0.0, 0.0) == ["aggressive", "joint"]


def test_a_look_waits_for_as_many_model_steps_as_an_epoch_has_batches() -> None:
    updates, looks = Aggressive(most=4, check=2), 0

    def look() -> float:
        nonlocal looks
        looks += 1
        return 1.0

    for epoch in range(1, 11):
        for _ in range(10):
            updates.after_step(0.0)  # a level loss: the model moves every fifth step
        updates.after_epoch(look)
        assert looks == epoch // 5
    assert [row["model_steps"] for row in updates.history] == [10, 20]
    assert updates.history[0]["guide_steps"] == 40
    assert updates.history[0]["step"] == 50


def test_joint_mode_never_looks_again() -> None:
    updates = Aggressive(most=4, check=2, look=1)
    after(updates, 1.0, 0.5)
    updates.after_step(0.0)
    updates.after_epoch(lambda: pytest.fail("asked for the information"))
    assert updates.turn() == "both" == updates.moved


def test_its_state_is_plain_numbers_and_goes_on_where_it_was(tmp_path: Any) -> None:
    losses = [math.sin(i) for i in range(400)]
    whole, first = Aggressive(most=20, check=3, look=2), Aggressive(most=20, check=3, look=2)

    def run(updates: Aggressive, part: list[float], start: int) -> list[str]:
        seen = []
        for i, loss in enumerate(part, start):
            seen.append(updates.turn(i))
            updates.after_step(loss)
            if i % 17 == 16:
                updates.after_epoch(lambda i=i: i - i * i / 500)
        return seen

    expected = run(whole, losses, 0)
    run(first, losses[:133], 0)
    torch.save(first.state_dict(), tmp_path / "state")
    second = Aggressive(most=20, check=3, look=2)
    second.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert run(second, losses[133:], 133) == expected[133:]
    assert second.history == whole.history
    assert {"guide", "model", "both"} == set(expected)


@pytest.mark.parametrize(
    ("settings", "argument"),
    [
        ({"most": 0}, "most"),
        ({"check": 2.5}, "check"),
        ({"patience": True}, "patience"),
        ({"look": 0}, "look"),
        ({"most": 10, "check": 6}, "check"),
    ],
)
def test_settings_are_looked_at(settings: dict[str, Any], argument: str) -> None:
    with pytest.raises(InputError, match=argument) as found:
        Aggressive(**settings)
    assert found.value.cure


def test_its_name_shows_its_settings_and_not_its_state() -> None:
    updates = Aggressive(most=50, look=3)
    name = repr(updates)
    after(updates, 1.0, 0.5)
    assert "most=50" in name and "look=3" in name and repr(updates) == name


# -- with a pair


@torch.no_grad()
def lag(guide: Any, model: Any, x: Tensor) -> float:
    """KL(q(z | x) || p(z | x)), the mean over x, in nats; both Gaussian."""
    truth = model.posterior(x)
    mine = torch.distributions.Normal(guide.slope * x, guide.log_scale.exp())
    return float(torch.distributions.kl_divergence(mine, truth).mean())


def train(updates: Aggressive, model_steps: int) -> tuple[nn.Module, list[float]]:
    """Train a linear-Gaussian pair; return the guide's lag before each step of the model."""
    model, guide = pairs.Conjugate(), pairs.ConjugateGuide()
    with torch.no_grad():
        model.log_noise.fill_(math.log(3.0))  # far too noisy: the model has far to go
    x = 2.1 * torch.randn(512)
    objective, lags = Objective("meanfield", num_particles=4), []
    optimizer = torch.optim.Adam([*model.parameters(), *guide.parameters()], lr=0.03)
    while len(lags) < model_steps:
        turn = updates.turn()
        if turn != "guide":
            lags.append(lag(guide, model, x))
        optimizer.zero_grad()
        loss = objective.loss(model, guide, (x,))
        loss.backward()
        for module, mine in ((model, "model"), (guide, "guide")):
            if turn not in ("both", mine):
                module.zero_grad()
        optimizer.step()
        updates.after_step(loss.item())
    return model, lags


def test_the_guide_is_at_its_optimum_before_each_step_of_the_model() -> None:
    """A linear guide can be the exact posterior of this pair: what is left is Adam's own jitter."""
    pyro.enable_validation(False)  # half of the time
    joint = Aggressive(most=2, check=1, look=1)
    after(joint, 1.0, 0.0)
    assert joint.mode == "joint"
    start = copy.deepcopy(torch.get_rng_state())
    model, eager = train(Aggressive(), 5)
    torch.set_rng_state(start)
    _, lagging = train(joint, 5)
    assert max(eager) < 1e-3
    assert min(lagging) > 0.1
    assert model.log_noise < math.log(3.0) - 0.1  # and it did move
