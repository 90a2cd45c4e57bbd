"""Bayesian regression on two orthogonal inputs, which every guide of normal draws fits exactly."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import autoguide
from pyro.nn import PyroModule, PyroParam, PyroSample, pyro_method
from torch import Tensor, nn
from torch.distributions import constraints

from tools.idioms.truth import NEW, Pair, Truth, X, Y, predicted, regression

KINDS = {"b0": "latent", "b1": "latent", "y": "observed"}


def story(x: Tensor, y: Tensor | None = None) -> None:
    b0 = pyro.sample("b0", dist.Normal(0.0, 1.0))
    b1 = pyro.sample("b1", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("y", dist.Normal(b0 * x[:, 0] + b1 * x[:, 1], 1.0), obs=y)


def truth(kinds: Any = None, **changes: Any) -> Any:
    mean, covariance, evidence = regression(**changes)
    sds = covariance.diagonal().sqrt()
    names = ("b0", "b1")
    known = Truth(
        kinds or KINDS,
        evidence,
        dict(zip(names, mean, strict=True)),
        dict(zip(names, sds, strict=True)),
        predicted=predicted(mean, covariance),
    )
    return lambda model: known


def point_truth(model: Any) -> Truth:
    """Of guides that are a point: the mode, whose log joint density is their bound."""
    mean, covariance, evidence = regression()
    zero = torch.zeros(()).double()
    # the joint at the mode is the evidence times the posterior's density there
    height = torch.distributions.MultivariateNormal(mean, covariance).log_prob(mean)
    new = NEW.double() @ mean
    return Truth(
        KINDS,
        evidence + float(height),
        {"b0": mean[0], "b1": mean[1]},
        {"b0": zero, "b1": zero},
        predicted=(new, torch.ones_like(new)),
    )


class Exact(nn.Module):
    """The exact posterior of the regression, read from the data, but for two errors to be learned.

    Parameters
    ----------
    precision, power
        Of the prior, and of the likelihood (`tools.idioms.truth.regression`).
    """

    def __init__(self, precision: float = 1.0, power: float = 1.0) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.full((2,), 0.3))
        self.log_scale = nn.Parameter(torch.full((2,), 0.3))
        self.precision, self.power = precision, power

    def draw(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        inner = self.precision + self.power * x.square().sum(0)
        loc = self.power * (x * y[:, None]).sum(0) / inner + self.shift
        scale = inner.rsqrt() * self.log_scale.exp()
        b0 = pyro.sample("b0", dist.Normal(loc[0], scale[0]))
        return b0, pyro.sample("b1", dist.Normal(loc[1], scale[1]))

    def forward(self, x: Tensor, y: Tensor) -> None:
        self.draw(x, y)


def automatic(kind: Any, known: Any = None, **options: Any) -> Pair:
    return Pair(story, kind(story, **options), (X, Y), known or truth(), (NEW,))


def listed() -> Pair:
    guide = autoguide.AutoGuideList(story)
    guide.append(autoguide.AutoNormal(poutine.block(story, expose=["b0"])))
    guide.append(autoguide.AutoDiagonalNormal(poutine.block(story, expose=["b1"])))
    return Pair(story, guide, (X, Y), truth(), (NEW,))


class Methods(PyroModule):
    """Model and guide as two methods of one module."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(2))
        self.scale = PyroParam(torch.ones(2), constraints.positive)

    @pyro_method
    def model(self, x: Tensor, y: Tensor | None = None) -> None:
        story(x, y)

    @pyro_method
    def guide(self, x: Tensor, y: Tensor | None = None) -> None:
        loc, scale = self.loc, self.scale
        for i in range(2):
            pyro.sample(f"b{i}", dist.Normal(loc[i], scale[i]))


def methods() -> Pair:
    pair = Methods()
    return Pair(pair.model, pair.guide, (X, Y), truth(), (NEW,))


class Weights(PyroModule):
    """A model whose weights are samples."""

    def __init__(self) -> None:
        super().__init__()
        self.b0 = PyroSample(dist.Normal(0.0, 1.0))
        self.b1 = PyroSample(dist.Normal(0.0, 1.0))

    def forward(self, x: Tensor, y: Tensor | None = None) -> None:
        loc = self.b0 * x[:, 0] + self.b1 * x[:, 1]
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("y", dist.Normal(loc, 1.0), obs=y)


def pyro_sample() -> Pair:
    model = Weights()
    return Pair(model, autoguide.AutoNormal(model), (X, Y), truth(), (NEW,))


class Params(PyroModule):
    """A guide with a constrained parameter that is made when it is first read."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = PyroParam(lambda: torch.zeros(2))
        self.scale = PyroParam(lambda: torch.ones(2), constraints.positive)

    def forward(self, x: Tensor, y: Tensor | None = None) -> None:
        loc, scale = self.loc, self.scale
        for i in range(2):
            pyro.sample(f"b{i}", dist.Normal(loc[i], scale[i]))


def params() -> Pair:
    return Pair(story, Params(), (X, Y), truth(), (NEW,))


class Lazy(nn.Module):
    """A guide whose layers learn their sizes from the data."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.LazyLinear(2)
        self.log_scale = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor, y: Tensor | None = None) -> None:
        loc, scale = self.loc(x.new_ones(1)), self.log_scale.exp()
        for i in range(2):
            pyro.sample(f"b{i}", dist.Normal(loc[i], scale[i]))


def lazy() -> Pair:
    return Pair(story, Lazy(), (X, Y), truth(), (NEW,))


def functions() -> Pair:
    def guide(x: Tensor, y: Tensor | None = None) -> None:
        for i in range(2):
            loc = pyro.param(f"loc{i}", torch.tensor(0.0))
            scale = pyro.param(f"scale{i}", torch.tensor(1.0), constraint=constraints.positive)
            pyro.sample(f"b{i}", dist.Normal(loc, scale))

    return Pair(story, guide, (X, Y), truth(), (NEW,))


def amortised() -> Pair:
    return Pair(story, Exact(), (X, Y), truth(), (NEW,), amortised=True)


GUIDES: dict[str, Any] = {
    "two plain functions, `pyro.param`": functions,
    "`nn.Module` guide that reads the data": amortised,
    "`pyro_method`, both of one module": methods,
    "`PyroSample` model": pyro_sample,
    "lazy `PyroParam` guide": params,
    "lazy layers (`LazyLinear`)": lazy,
    "`AutoNormal`": lambda: automatic(autoguide.AutoNormal),
    "`AutoDiagonalNormal`": lambda: automatic(autoguide.AutoDiagonalNormal),
    "`AutoMultivariateNormal`": lambda: automatic(autoguide.AutoMultivariateNormal),
    "`AutoLowRankMultivariateNormal`": lambda: automatic(
        autoguide.AutoLowRankMultivariateNormal, rank=1
    ),
    "`AutoIAFNormal`": lambda: automatic(autoguide.AutoIAFNormal, hidden_dim=[8]),
    "`AutoStructured`": lambda: automatic(autoguide.AutoStructured),
    "`AutoGaussian`": lambda: automatic(autoguide.AutoGaussian),
    "`AutoGuideList`": listed,
    "`AutoDelta`": lambda: automatic(autoguide.AutoDelta, point_truth),
    "`AutoLaplaceApproximation`": lambda: automatic(
        autoguide.AutoLaplaceApproximation, point_truth
    ),
    "`AutoNormalMessenger`": lambda: automatic(autoguide.AutoNormalMessenger),
    "`AutoHierarchicalNormalMessenger`": lambda: automatic(
        autoguide.AutoHierarchicalNormalMessenger
    ),
    "`AutoRegressiveMessenger`": lambda: automatic(autoguide.AutoRegressiveMessenger),
}
