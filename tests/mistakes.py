"""What the tests of `check` share: one right pair, and a call that has to fail."""

from __future__ import annotations

from collections.abc import Callable

import pyro
import pyro.distributions as dist
import pytest
import torch

from inference import check
from inference.errors import PairError

PARALLEL = {"enumerate": "parallel"}


X = torch.tensor([0.5, -1.0, 2.0, 0.1, -0.3])


def wrong(model: Callable, guide: Callable, *args: object, **kwargs: object) -> PairError:
    """The error that check raises; it says four things."""
    with pytest.raises(PairError) as caught:
        check(model, guide, *args, **kwargs)
    error = caught.value
    assert error.found and error.expected and error.cure
    assert len(str(error).splitlines()) == 4
    return error


def no_guide(x: torch.Tensor) -> None:
    pass


def conjugate(x: torch.Tensor) -> None:
    with pyro.plate("data", len(x), dim=-1):
        z = pyro.sample("z", dist.Normal(0.0, 2.0))
        pyro.sample("x", dist.Normal(z, 0.5), obs=x)


def conjugate_guide(x: torch.Tensor) -> None:
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("z", dist.Normal(0.5 * x, 0.5))
