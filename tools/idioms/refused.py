"""Idioms that all functions refuse, in the same words."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import autoguide
from torch import Tensor, nn

from tools.idioms.truth import Pair, Truth

NO_TRUTH = Truth({}, 0.0)


def number() -> Pair:
    """As many sites as a draw says."""

    def story(x: Tensor) -> None:
        count = pyro.sample("count", dist.Poisson(3.0))
        for i in range(int(count)):
            pyro.sample(f"z{i}", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    class Guide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rate = nn.Parameter(torch.tensor(1.0))

        def forward(self, x: Tensor) -> None:
            count = pyro.sample("count", dist.Poisson(3.0 * self.rate))
            for i in range(int(count)):
                pyro.sample(f"z{i}", dist.Normal(0.0, 1.0))

    return Pair(story, Guide(), (torch.zeros(4),), lambda model: NO_TRUTH)


def support() -> Pair:
    """A prior whose ends are another latent."""

    def story(x: Tensor) -> None:
        a = pyro.sample("a", dist.Uniform(0.0, 1.0))
        b = pyro.sample("b", dist.Uniform(0.0, 1.0 - a))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(a + b, 1.0), obs=x)

    return Pair(story, autoguide.AutoNormal(story), (torch.ones(4),), lambda model: NO_TRUTH)


def rows() -> Pair:
    """Rows that the model is given, and that an AutoGuide without ``create_plates=`` is not."""

    def story(x: Tensor, index: Tensor) -> None:
        with pyro.plate("data", 8, subsample=index):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    data = torch.ones(4), torch.tensor([1, 3, 4, 6])
    return Pair(story, autoguide.AutoNormal(story), data, lambda model: NO_TRUTH)


def hidden() -> Pair:
    """NaN for what is missing, under a mask that leaves them in the gradient."""
    x = torch.tensor([1.0, float("nan"), 0.5])

    def story(x: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)), poutine.mask(mask=~x.isnan()):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    return Pair(story, autoguide.AutoNormal(story), (x,), lambda model: NO_TRUTH)


REFUSED: dict[str, tuple[Any, str]] = {
    "a random number of sites": (number, "comes and goes"),
    "a support that depends on a latent": (support, "a support that depends on 'a'"),
    "`subsample=` in the model alone": (rows, "takes other rows in the guide"),
    "NaN under `poutine.mask`": (hidden, "elements are NaN, under a mask"),
}
