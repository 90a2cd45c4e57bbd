"""Discrete sites of every kind, enumerated, with sums over all their values as the truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import autoguide
from torch import Tensor, nn

from tools.idioms.truth import Pair, Truth

PARALLEL = {"enumerate": "parallel"}
X = torch.tensor([-0.5, 0.4, 1.6, 2.5, 3.1])
SEEN = torch.tensor([True, False, True, True, True])


class Nothing(nn.Module):
    """The guide of a pair whose latent sites are all summed."""

    def forward(self, *args: Any) -> None:
        """Sample nothing."""


class Ends(dist.Categorical):
    """A family of one's own: the values -1 and 3 instead of 0 and 1."""

    values = torch.tensor([-1.0, 3.0])

    def sample(self, *shape: Any) -> Tensor:
        return self.values[super().sample(*shape)]

    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob((value > 0).long())

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self.values[super().enumerate_support(expand)]


class Mixture(nn.Module):
    """x ~ N(location of w, 1) with one enumerated w of each datum.

    Parameters
    ----------
    prior
        The distribution of w.
    number
        The number that a value of w stands for.
    masked
        Whether some data are under a mask, with their w.
    """

    def __init__(
        self, prior: Any, number: Callable[[Tensor], Tensor] = lambda w: w, masked: bool = False
    ) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.8))
        self.prior, self.number, self.masked = prior, number, masked

    def forward(self, x: Tensor) -> None:
        """Generate."""
        around = SEEN if self.masked else True
        with pyro.plate("data", len(x), dim=-1), poutine.mask(mask=around):
            w = pyro.sample("w", self.prior(), infer=PARALLEL)
            pyro.sample("x", dist.Normal(self.slope * self.number(w), 1.0), obs=x)


def _mixture(*args: Any, **options: Any) -> Pair:
    model = Mixture(*args, **options)

    def known(_: Any) -> Truth:
        prior = model.prior()
        values = prior.enumerate_support(expand=False)
        log_prior = prior.log_prob(values).double().reshape(-1, 1)
        place = model.slope.detach() * model.number(values).reshape(-1, 1)
        log_x = dist.Normal(place, 1.0).log_prob(X).double()
        if model.masked:
            log_x = torch.where(SEEN, log_x, 0.0)
        joint = log_prior + log_x  # (K, N)
        return Truth(
            {"w": "enumerated", "x": "observed"},
            float(joint.logsumexp(0).sum()),
            probs={"w": joint.softmax(0).T},
        )

    return Pair(model, Nothing(), (X,), known, amortised=not model.masked)


THREE = torch.tensor([0.2, 0.3, 0.5])


def one_hot() -> Pair:
    return _mixture(
        lambda: dist.OneHotCategorical(THREE), lambda w: (w * torch.arange(3.0)).sum(-1)
    )


class Chain(nn.Module):
    """A hidden chain of two states, enumerated in a ``pyro.markov`` loop."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> None:
        """Generate."""
        state: Any = torch.tensor(0)
        for t in pyro.markov(range(len(x))):
            row = torch.tensor([[0.8, 0.2], [0.3, 0.7]])[state.long()]
            state = pyro.sample(f"s{t}", dist.Categorical(row), infer=PARALLEL)
            pyro.sample(f"x{t}", dist.Normal(2.0 * self.slope * state, 1.0), obs=x[t])


def chain() -> Pair:
    model, data = Chain(), X[:4]

    def known(_: Any) -> Truth:
        paths = torch.cartesian_prod(*[torch.arange(2)] * 4)
        rows = torch.tensor([[0.8, 0.2], [0.3, 0.7]]).log().double()
        before = torch.cat([torch.zeros(16, 1).long(), paths[:, :-1]], 1)
        place = 2.0 * model.slope.detach() * paths
        joint = rows[before, paths].sum(1) + dist.Normal(place, 1.0).log_prob(data).double().sum(1)
        weight = joint.softmax(0)
        ones = (weight[:, None] * paths).sum(0)
        kinds = {f"s{t}": "enumerated" for t in range(4)} | {f"x{t}": "observed" for t in range(4)}
        probs = {f"s{t}": torch.stack([1 - ones[t], ones[t]]) for t in range(4)}
        return Truth(kinds, float(joint.logsumexp(0)), probs=probs)

    return Pair(model, Nothing(), (data,), known)


def in_guide() -> Pair:
    """A discrete site that the guide draws, of a learned table of probabilities."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            w = pyro.sample("w", dist.Categorical(THREE))
            pyro.sample("x", dist.Normal(w.to(x.dtype), 1.0), obs=x)

    def known(_: Any) -> Truth:
        values = torch.arange(3.0)[:, None]
        joint = THREE.log().double()[:, None] + dist.Normal(values, 1.0).log_prob(X).double()
        kinds = {"w": "latent", "x": "observed"}
        means = (joint.softmax(0) * values).sum(0)
        return Truth(kinds, float(joint.logsumexp(0).sum()), {"w": means})

    return Pair(model, autoguide.AutoDiscreteParallel(model), (X,), known)


DISCRETE: dict[str, Any] = {
    "`Categorical` enumerated": lambda: _mixture(lambda: dist.Categorical(THREE)),
    "`OneHotCategorical` enumerated": one_hot,
    "`Bernoulli` enumerated": lambda: _mixture(lambda: dist.Bernoulli(torch.tensor(0.3))),
    "`Binomial` enumerated": lambda: _mixture(lambda: dist.Binomial(3, torch.tensor(0.4))),
    "a finite family of one's own, enumerated": lambda: _mixture(
        lambda: Ends(torch.tensor([0.4, 0.6]))
    ),
    "an enumerated site under `poutine.mask`": lambda: _mixture(
        lambda: dist.Categorical(THREE), masked=True
    ),
    "`pyro.markov`, enumerated": chain,
    "`AutoDiscreteParallel`": in_guide,
}
