"""Idioms that all functions refuse, in the same words."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch
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


REFUSED: dict[str, tuple[Any, str]] = {
    "a random number of sites": (number, "comes and goes"),
    "a support that depends on a latent": (support, "a support that depends on 'a'"),
}
