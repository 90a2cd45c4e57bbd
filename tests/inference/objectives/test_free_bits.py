from __future__ import annotations

import math
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from inference.errors import PairError
from inference.objectives import FreeBits, Objective
from inference.objectives.pair_trace import trace_pair
from inference.randomness import seeded
from inference.tracing.layout import layout
from tests.inference.objectives.test_kl import MASK
from tests.inference.objectives.test_pathwise_elbo import AUTO, case


class Paths(nn.Module):
    """u ~ N(0, I_2), z ~ N(0, 1) for 4 frames of 3 numbers, and a datum; rows of other lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            u = pyro.sample("u", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            distribution = dist.Normal(self.loc, 1.0).expand([len(x), 4, 3])
            z = pyro.sample("z", distribution.mask(MASK[..., None]).to_event(2))
            mean = u.sum(-1) + (z * MASK[..., None]).sum((-1, -2))
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)


class PathsGuide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.linspace(-0.5, 1.0, 12).reshape(4, 3))

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("u", dist.Normal(x[:, None] * torch.tensor([0.1, 0.9]), 0.7).to_event(1))
            distribution = dist.Normal(self.loc * x[:, None, None], 0.8)
            pyro.sample("z", distribution.mask(MASK[..., None]).to_event(2))


def paths() -> tuple[nn.Module, nn.Module, Tensor]:
    return Paths().double(), PathsGuide().double(), torch.linspace(-1, 2, 5).double()


def loss_and_gradient(objective: Objective, model: Any, guide: Any, x: Tensor) -> Any:
    with seeded(5):
        loss = objective.loss(model, guide, (x,))
    trained = [p for p in (*model.parameters(), *guide.parameters()) if p.requires_grad]
    return loss.detach(), torch.autograd.grad(loss, trained, allow_unused=True)


@pytest.mark.parametrize("weight", [1.0, 0.3])
@pytest.mark.parametrize("per", ["element", "step", "total"])
def test_no_free_bits_is_the_plain_bound(per: Any, weight: float) -> None:
    for model, guide, x in (case("vae"), case("local"), paths()):
        free = Objective(free_bits=FreeBits(0, per), kl_weight=weight)
        plain = Objective("meanfield", kl_weight=weight)
        ours = loss_and_gradient(free, model, guide, x)
        theirs = loss_and_gradient(plain, model, guide, x)
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("sites", [None, ("z",), "z"])
@pytest.mark.parametrize("per", ["element", "step", "total"])
def test_the_formula(per: Any, sites: Any) -> None:
    model, guide, x = paths()
    nats = {"element": 0.3, "step": 0.9, "total": 2.5}[per]
    objective = Objective(kl_weight=0.7, free_bits=FreeBits(nats, per, sites))
    with seeded(5):
        measured = objective.measure(model, guide, (x,))
    # KL(N(m, s) || N(0, 1)) = -log s + (s^2 + m^2 - 1) / 2
    u = -math.log(0.7) + ((x[:, None] * torch.tensor([0.1, 0.9])) ** 2 + 0.49 - 1) / 2
    z = -math.log(0.8) + ((guide.loc * x[:, None, None]) ** 2 + 0.64 - 1) / 2
    z = z * MASK[..., None]
    if per == "total":
        groups = [z.sum((1, 2))[:, None]], [MASK.any(1, keepdim=True)]
    elif per == "step":
        groups = [z.sum(2)], [MASK]
    else:
        groups = [z.flatten(1)], [MASK[..., None].expand(5, 4, 3).flatten(1)]
    if sites is None:
        groups[0].append(u if per == "element" else u.sum(1, keepdim=True))
        groups[1].append(torch.ones_like(groups[0][1]).bool())
    # the mean is over the rows that have it, and counts for as many
    rate = 0.0 if sites is None else u.sum(1).mean()
    for values, there in zip(*groups, strict=True):
        mean = values.sum(0) / there.sum(0)
        rate = rate + (mean.clamp(min=nats) * there.sum(0) / len(x)).sum()
    with seeded(5), pyro.validation_enabled(False):
        plain = Objective("meanfield", kl_weight=0.0).loss(model, guide, (x,))
    torch.testing.assert_close(measured.loss, plain + 0.7 * rate, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(measured.figures["rate"], (u.sum(1) + z.sum((1, 2))).mean())


def test_below_the_threshold_only_the_data_pull() -> None:
    model, guide, x = case("vae")
    loss, gradient = loss_and_gradient(Objective(free_bits=FreeBits(1e3)), model, guide, x)
    data, alone = loss_and_gradient(Objective("meanfield", kl_weight=0.0), model, guide, x)
    torch.testing.assert_close(loss, data + 1e3)
    torch.testing.assert_close(gradient, alone, rtol=1e-10, atol=1e-10)


class HeavyTailed(nn.Module):
    """z ~ Student's t, which has no closed form against a normal guide; x ~ N(z, 1)."""

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.StudentT(4.0, 0 * x, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def test_the_mean_over_particles_and_batch_is_inside_the_maximum() -> None:
    model, (_, guide, x) = HeavyTailed(), case("local")
    with seeded(2):
        views = [
            trace_pair(model, guide, (x,), {}, layout(model, guide, (x,)), 6) for _ in range(3)
        ]
    each = torch.stack([view.kl("z").mean() for view in views])
    data = torch.stack([-view.observed().mean() for view in views]).mean()
    between = (each.mean() + each.max()) / 2  # some draws are above it, their mean below
    for nats in (each.mean() - 0.01, between):
        objective = Objective(num_particles=3, free_bits=FreeBits(nats.item()))
        with seeded(2):
            loss = objective.loss(model, guide, (x,))
        torch.testing.assert_close(loss, data + each.mean().clamp(min=nats))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"nats": -1.0}, "nats is -1"),
        ({"nats": math.nan}, "nats is nan"),
        ({"nats": 1.0, "per": "frame"}, "per is 'frame'"),
    ],
)
def test_settings_are_checked(wrong: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FreeBits(**wrong)


@pytest.mark.parametrize("kind", ["iwae", "renyi"])
def test_kinds_without_a_kl_term_are_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match="free_bits need KL terms"):
        Objective(kind, free_bits=FreeBits(1.0))


def test_sites_that_are_not_there_are_named() -> None:
    model, guide, x = case("vae")
    with pytest.raises(PairError, match="one of: z"):
        Objective(free_bits=FreeBits(1.0, sites=("y",))).loss(model, guide, (x,))
    model, guide, x = case(AUTO[1])
    with pytest.raises(PairError, match="one posterior for several sites"):
        Objective(free_bits=FreeBits(1.0)).loss(model, guide, (x,))
