"""What the tests of `fit` share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from inference import Objective, Run, fit
from inference.schedules import linear
from tests import pairs

QUIET: dict[str, Any] = {"progress": False}


def data(size: int = 100, seed: int = 1) -> Tensor:
    return 2 * torch.randn(size, generator=torch.Generator().manual_seed(seed)) + 0.5


def conjugate(exact: bool = False) -> tuple[nn.Module, nn.Module]:
    return pairs.Conjugate(), pairs.ConjugateGuide(exact)


def parameters(run: Run) -> list[Tensor]:
    return [*run.model.state_dict().values(), *run.guide.state_dict().values()]


def same(left: Run, right: Run) -> bool:
    equal = all(torch.equal(a, b) for a, b in zip(parameters(left), parameters(right), strict=True))
    return equal and repr(left.history) == repr(right.history)


def train(**settings: Any) -> Run:
    """Four epochs of four batches (30, 30, 30, 10), with everything that has a state."""
    options: dict[str, Any] = {
        "epochs": 4,
        "batch_size": 30,
        "learning_rate": 0.01,
        "objective": Objective(kl_weight=linear(20)),
        "validation": data(40, seed=7),
        "data": data(),
        **QUIET,
    }
    return fit(*conjugate(), **{**options, **settings})


def interrupt_at(step: int) -> Callable[[int, float], None]:
    """A hook that sends Ctrl-C to this process after a step."""

    def hook(now: int, loss: float) -> None:
        if now == step:
            os.kill(os.getpid(), signal.SIGINT)

    return hook
