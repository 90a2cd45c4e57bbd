"""What is known of the pairs without the engine: closed forms, and sums over all values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

X = torch.tensor([[1.0, 1.0], [1.0, -1.0], [1.0, 1.0], [1.0, -1.0], [2.0, 0.0], [0.0, 2.0]])
Y = torch.tensor([1.5, 0.2, 0.9, -0.4, 1.8, 1.1])
NEW = torch.tensor([[1.0, 2.0], [-1.0, 0.5]])


@dataclass(frozen=True)
class Truth:
    """What is known of a pair.

    Parameters
    ----------
    kinds
        The kind of each site, as `inference.check` names it.
    evidence
        log p(data) in nats in all, or by datum where a plate takes some of them; or the bound that
        a fitted guide reaches at best.
    means, sds
        Of the posterior of latent sites, by name.
    probs
        Of enumerated sites: the probability of each value, ``(plates..., K)``.
    predicted
        Mean and variance of the predicted site ``y`` at the new inputs.
    slack
        Nats that training may leave between bound and evidence.
    is_bound
        Whether ``evidence`` is the bound itself, at the parameters as they are.
    """

    kinds: Mapping[str, str]
    evidence: Any
    means: Mapping[str, Tensor] = field(default_factory=dict)
    sds: Mapping[str, Tensor] = field(default_factory=dict)
    probs: Mapping[str, Tensor] = field(default_factory=dict)
    predicted: tuple[Tensor, Tensor] | None = None
    slack: float = 0.05
    is_bound: bool = False

    def of(self, rows: Tensor | None) -> Truth:
        """Return what is known of some rows, where each datum has an evidence of its own."""
        if rows is None or not isinstance(self.evidence, Tensor):
            return self
        parts = ({n: v[rows] for n, v in part.items()} for part in (self.means, self.sds))
        return replace(
            self,
            evidence=float(self.evidence[rows].sum()),
            **dict(zip(("means", "sds"), parts, strict=True)),
        )


@dataclass(frozen=True)
class Pair:
    """A pair and its data; what is known of it, given its parameters as they are.

    Parameters
    ----------
    model, guide, data
        As a user writes them.
    truth
        Given the model that was trained.
    new
        Inputs to predict at; None if predicting makes no sense.
    amortised
        Whether the guide reads the data, so that it can be calibrated.
    """

    model: Any
    guide: Any
    data: tuple[Any, ...]
    truth: Callable[[Any], Truth]
    new: tuple[Any, ...] | None = None
    amortised: bool = False


def regression(
    x: Tensor = X, y: Tensor = Y, precision: float = 1.0, power: float = 1.0
) -> tuple[Tensor, Tensor, float]:
    """Return mean, covariance and log evidence of b ~ N(0, 1 / precision), y ~ N(x b, 1).

    Parameters
    ----------
    x, y
        ``(N, 2)`` and ``(N,)``.
    precision
        Of the prior.
    power
        Of the likelihood, which ``poutine.scale`` raises it to: the evidence is then the log of the
        integral.
    """
    x, y = x.double(), y.double()
    inner = precision * torch.eye(2).double() + power * x.T @ x
    covariance = inner.inverse()
    mean = covariance @ (power * x.T @ y)
    if precision == 0.0 or power != 1.0:
        return mean, covariance, _by_quadratic(x, y, mean, covariance, precision, power)
    spread = torch.eye(len(x)).double() + x @ x.T / precision
    evidence = MultivariateNormal(torch.zeros(len(x)).double(), spread).log_prob(y)
    return mean, covariance, float(evidence)


def _by_quadratic(
    x: Tensor, y: Tensor, mean: Tensor, covariance: Tensor, precision: float, power: float
) -> float:
    """Log of the integral of prior times likelihood: the joint at its mode, times its volume."""
    two_pi = torch.log(torch.tensor(2 * torch.pi).double())
    residual = (y - x @ mean).square().sum()
    joint = power * (-0.5 * residual - 0.5 * len(y) * two_pi)
    if precision:
        log_precision = torch.log(torch.tensor(precision).double())
        joint += -0.5 * precision * mean.square().sum() - two_pi + log_precision
    return float(joint + two_pi + 0.5 * torch.logdet(covariance))


def predicted(mean: Tensor, covariance: Tensor, new: Tensor = NEW) -> tuple[Tensor, Tensor]:
    """Return mean and variance of y at new inputs."""
    x = new.double()
    return x @ mean, 1 + ((x @ covariance) * x).sum(-1)
