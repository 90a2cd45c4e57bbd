"""What makes the optimiser of a run, in torch's form and in Pyro's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro.optim
import pytest
import torch
from pyro.optim.clipped_adam import ClippedAdam

from inference import Run, fit
from ppl_models import InputError
from tests.cures import tried
from tests.inference.training.fitting import QUIET, conjugate, data, parameters

RATE = {"lr": 0.05}
SAME: dict[str, tuple[Any, Callable[..., Any]]] = {
    "Adam": (pyro.optim.Adam(RATE), lambda ps: torch.optim.Adam(ps, **RATE)),
    "SGD": (pyro.optim.SGD({"lr": 0.01}), lambda ps: torch.optim.SGD(ps, lr=0.01)),
    "ClippedAdam": (
        pyro.optim.ClippedAdam({"lr": 0.05, "lrd": 0.9}),
        lambda ps: ClippedAdam(ps, lr=0.05, lrd=0.9),
    ),
    "by name": (pyro.optim.Adam(lambda name: RATE), lambda ps: torch.optim.Adam(ps, **RATE)),
}


def run(optimizer: Any, **options: Any) -> Run:
    return fit(*conjugate(), data(), epochs=4, optimizer=optimizer, **options, **QUIET)


@pytest.mark.parametrize("name", SAME)
def test_an_optimizer_of_pyro_trains_as_that_of_torch_does(name: str) -> None:
    pyros, torchs = SAME[name]
    for a, b in zip(parameters(run(pyros)), parameters(run(torchs)), strict=True):
        assert torch.equal(a, b)


def test_its_arguments_may_depend_on_the_name_of_a_parameter() -> None:
    """A rate of 0 for all but one leaves all but one."""
    start = dict(conjugate()[1].named_parameters())
    first = next(iter(start))
    made = run(pyro.optim.SGD(lambda name: {"lr": 0.01 if name == first else 0.0}))
    for name, value in made.guide.named_parameters():
        assert torch.equal(value, start[name]) == (name != first)


def test_a_schedule_of_rates_goes_on_top() -> None:
    rates: dict[str, Any] = {"learning_rate": lambda step: 0.1 / (1 + step)}
    for a, b in zip(
        parameters(run(pyro.optim.Adam({}), **rates)),
        parameters(run(lambda ps: torch.optim.Adam(ps), **rates)),
        strict=True,
    ):
        assert torch.equal(a, b)


WRONG: dict[str, tuple[Any, str]] = {
    "returns nothing": (lambda ps: None, "a function that returned None"),
    "returns a list": (lambda ps: ps, "a function that returned a list"),
    "text": ("adam", "a str"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_makes_no_optimizer_is_refused_with_one_that_works(name: str) -> None:
    optimizer, found = WRONG[name]
    with pytest.raises(InputError, match=found) as raised:
        run(optimizer)
    assert raised.value.argument == "optimizer"
    made = eval(raised.value.cure.removeprefix("optimizer="), {"torch": torch})
    assert run(made).history


def test_a_scheduler_of_pyro_is_refused_with_a_schedule_that_works() -> None:
    settings = {"optimizer": torch.optim.Adam, "optim_args": RATE, "gamma": 0.5}
    with pytest.raises(InputError, match="whose step nobody calls") as raised:
        run(pyro.optim.ExponentialLR(settings))
    code = raised.value.cure.split("such as learning_rate=")[1]
    optimizer = tried(raised.value, pyro=pyro)[0]
    assert run(optimizer, learning_rate=eval(code)).history


def test_clip_arguments_of_pyro_are_refused_with_the_argument_of_fit() -> None:
    with pytest.raises(InputError, match=r"clip=10\.0"):
        run(pyro.optim.PyroOptim(torch.optim.Adam, RATE, {"clip_norm": 10.0}))
    assert run(pyro.optim.PyroOptim(torch.optim.Adam, RATE), clip=10.0).history
