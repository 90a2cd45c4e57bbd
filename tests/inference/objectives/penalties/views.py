"""Pairs whose aggregated posterior is known, and a draw of one as penalties see it."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn

from inference.objectives import PairTrace
from inference.tracing.layout import sample_sites


class GaussianModel(nn.Module):
    """z ~ N(loc, 1) with a learned mean, x ~ N(z, 1); dims of x and z are the same."""

    def __init__(self, dim: int = 3) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor, size: int = 1) -> None:
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(self.loc, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


class Affine(nn.Module):
    """q(z | x) = N(A x + b, scale): with x ~ N(0, I), q(z) = N(b, A A' + scale^2 I)."""

    def __init__(self, weight: Tensor, scale: float = 0.5, shift: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.shift = nn.Parameter(torch.full((len(weight),), shift))
        self.scale = nn.Parameter(torch.full((len(weight),), scale))

    def forward(self, x: Tensor, size: int = 1) -> None:
        with pyro.plate("data", len(x), dim=-1):
            loc = x @ self.weight.T + self.shift
            pyro.sample("z", dist.Normal(loc, self.scale).to_event(1))


# A A' + 0.25 I, the covariance of q(z), has correlations of 0.76, 0.55 and 0.41
MIXING = torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.5, 0.0], [0.6, 0.0, 0.7]])


def affine(dim: int = 3, **settings: Any) -> tuple[GaussianModel, Affine]:
    """A pair of correlated codes, for dim 3; of codes like the prior's, for others."""
    weight = MIXING if dim == 3 else torch.eye(dim) * 0.75**0.5
    return GaussianModel(dim), Affine(weight, **settings)


def view(
    model: Any, guide: Any, x: Tensor, data_size: int | None = None, step: int = 0
) -> PairTrace:
    """Draw from a pair."""
    q = poutine.trace(guide).get_trace(x)
    p = poutine.trace(poutine.replay(model, trace=q)).get_trace(x)
    latent, every = (sample_sites(trace) for trace in (q, p))
    size = data_size or len(x)
    return PairTrace(model, guide, (x,), {}, step, size, len(x), latent, every, "data", latent)


def gradients(value: Tensor, module: nn.Module) -> list[bool]:
    """Which parameters of a module a value's gradient reaches."""
    found = torch.autograd.grad(
        value, list(module.parameters()), allow_unused=True, retain_graph=True
    )
    return [g is not None and bool(g.abs().max() > 1e-5) for g in found]
