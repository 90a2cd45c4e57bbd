"""A step: what an optimiser may ask of it, and what stops it."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from inference import NonFiniteError, fit
from tests import pairs
from tests.inference.training.fitting import QUIET, conjugate, data, same, train


def test_an_optimiser_may_ask_for_the_loss_again_and_gets_the_same() -> None:
    asked: list[float] = []

    class Twice(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            losses = [float(closure()), float(closure())]
            asked.extend(losses)
            return super().step()

    def shaken(x: Tensor) -> Tensor:
        return x + torch.randn_like(x)

    run = train(optimizer=lambda p: Twice(p, 0.01), transform=shaken, learning_rate=lambda n: 0.01)
    assert asked[::2] == asked[1::2] and len(asked) == 32
    once = train(
        optimizer=lambda p: torch.optim.SGD(p, 0.01), transform=shaken, learning_rate=lambda n: 0.01
    )
    assert same(run, once)


class Steep(pairs.ConjugateGuide):
    """Has a gradient of a given size at each element of one more parameter."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.size, self.more = slope, nn.Parameter(torch.zeros(4))

    def forward(self, x: Tensor | None = None, size: int = 1) -> None:
        super().forward(x, size)
        pyro.factor("steep", (self.size * self.more).sum(), has_rsample=True)


@pytest.mark.parametrize("clip", [None, 1.0])
def test_gradients_that_are_finite_but_huge_are_no_error(clip: float | None) -> None:
    """Four elements of 2e38 sum to more than float32 holds, and so does their norm."""
    settings = {"epochs": 1, "batch_size": 100, "clip": clip, **QUIET}
    run = fit(pairs.Conjugate(), Steep(2e38), data(), **settings)
    assert run.epochs == 1


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_gradient_that_is_not_finite_is_named_and_no_parameter_moves(clip: float | None) -> None:
    class Root(pairs.ConjugateGuide):
        def __init__(self) -> None:
            super().__init__()
            self.more = nn.Parameter(torch.zeros(()))

        def forward(self, x: Tensor | None = None, size: int = 1) -> None:
            with pyro.plate("data", len(x), dim=-1):  # type: ignore[arg-type]
                shift = self.more.sqrt()  # whose slope at 0 is infinite
                pyro.sample("z", dist.Normal(self.slope * x + shift, self.log_scale.exp()))

    guide = Root()
    before = {name: p.clone() for name, p in guide.named_parameters()}
    with pytest.raises(NonFiniteError, match=r"guide.more(.|\n)*gradient(.|\n)*epoch 1, batch 1"):
        fit(pairs.Conjugate(), guide, data(), clip=clip, **QUIET)
    assert all(torch.equal(p, before[name]) for name, p in guide.named_parameters())


def test_a_step_moves_the_parameters_that_the_optimiser_took() -> None:
    model, guide = conjugate()
    before = guide.log_scale.clone()
    options = {"epochs": 1, "optimizer": lambda p: torch.optim.SGD(p[:1], 0.01), **QUIET}
    fit(model, guide, data(), **options)
    assert torch.equal(guide.log_scale, before)
