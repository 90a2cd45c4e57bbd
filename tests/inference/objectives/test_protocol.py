"""`fit` trains by whatever keeps the protocol: an objective of moments, which is no bound."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from inference import fit
from inference.objectives import Objective, SubsetObjective, TargetRate, TrainingObjective
from inference.objectives.losses import LossResult
from tests.inference.objectives.test_losses import Judge


class Generator(nn.Module):
    """x = loc + scale e: data without a density that anybody scores."""

    def __init__(self) -> None:
        super().__init__()
        self.loc, self.scale = nn.Parameter(torch.tensor(0.0)), nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        with pyro.plate("data", len(x), dim=-1):
            e = pyro.sample("e", dist.Normal(torch.zeros(len(x)), 1.0))
        return self.loc + self.scale * e


class Noise(nn.Module):
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("e", dist.Normal(torch.zeros(len(x)), 1.0))


class Moments:
    """Squared differences of mean and standard deviation; its weight halves as it learns."""

    steered, whole_batch = False, ("moments",)

    def __init__(self) -> None:
        self.weight, self.steps = 1.0, 0

    def _loss(self, model: Any, x: Tensor) -> Tensor:
        made = model(x)
        return (made.mean() - x.mean()) ** 2 + (made.std() - x.std()) ** 2

    def measure(
        self,
        model: Any,
        guide: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        step: int = 0,
        data_size: int | None = None,
        plate: str | None = None,
    ) -> LossResult:
        loss = self._loss(model, *args)
        return LossResult(self.weight * loss, {"moments": loss.detach()})

    def after_step(self, result: LossResult) -> None:
        self.steps += 1

    def bound(
        self,
        model: Any,
        guide: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        data_size: int | None = None,
        plate: str | None = None,
    ) -> Tensor:
        return -self._loss(model, *args)

    def report(self, step: int) -> dict[str, float]:
        return {"moment weight": self.weight}

    def modules(self) -> dict[str, nn.Module]:
        return {}

    def reset(self) -> None:
        self.steps = 0

    def unfinished_warmup(self, step: int) -> float | None:
        return None


def test_a_loss_that_is_no_bound_is_trained_by() -> None:
    x, objective = 3.0 + 2.0 * torch.randn(400), Moments()
    assert isinstance(objective, TrainingObjective)
    options: dict[str, Any] = {"epochs": 40, "batch_size": 100, "learning_rate": 0.05}
    run = fit(Generator(), Noise(), x, objective=objective, progress=False, **options)
    assert objective.steps == 160
    first, last = run.history[0], run.history[-1]
    assert last["moments"] < 0.3 < first["moments"]  # chance moves a batch's mean by 0.2
    assert last["bound"] > first["bound"] and last["moment weight"] == 1.0
    assert isinstance(run.model, Generator) and abs(run.model.loc.item() - 3.0) < 0.5


def test_objectives_keep_the_protocol() -> None:
    for objective in (Objective(), SubsetObjective(modalities=("a", "b"))):
        assert isinstance(objective, TrainingObjective)
        assert not objective.modules() and not objective.steered and objective.whole_batch == ()
    assert not isinstance(object(), TrainingObjective)


def test_an_objective_says_what_it_holds() -> None:
    target, judge = TargetRate(1.0, start=0.5), Judge()
    objective = Objective(kl_weight=target, penalties=(judge,))
    assert objective.steered and objective.whole_batch == ("a target rate", "penalties")
    assert set(objective.modules()) == {"kl_weight", "penalties"}
    assert objective.report(3) == {"kl_weight": 0.5}
    target.weight = 0.1
    objective.reset()
    assert target.weight == 0.5
    with pytest.raises(ValueError, match="penalties hold a int"):
        Objective(penalties=(3,))  # type: ignore[arg-type]
