from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from inference.errors import PairError
from inference.objectives import FreeBits, Objective, TargetRate
from inference.randomness import seeded
from tests import pairs
from tests.inference.objectives.test_importance_weighted import Mixed, parameters
from tests.inference.objectives.test_objective import data


def mixture() -> tuple[nn.Module, nn.Module, Tensor]:
    return pairs.MixturePrior().double(), Mixed().double(), data(9)


def by_hand(model: Any, guide: Any, x: Tensor, draws: int) -> tuple[Tensor, Tensor]:
    """Distortion and rate of each datum, (draws, B)."""
    q = dist.Normal(guide.slope * x, 0.6)
    z = torch.stack([q.rsample() for _ in range(draws)])
    weights = model.logits.log_softmax(-1)
    prior = (weights + dist.Normal(model.loc, 1.0).log_prob(z[..., None])).logsumexp(-1)
    return -dist.Normal(z, 0.5).log_prob(x), q.log_prob(z) - prior


@pytest.mark.parametrize("draws", [1, 3])
@pytest.mark.parametrize("nats", [0.0, 0.5, 5.0])
@pytest.mark.parametrize("per", ["step", "total"])
def test_the_rate_of_a_mixture_prior(nats: float, per: Any, draws: int) -> None:
    model, guide, x = mixture()
    target = TargetRate(1.0, start=0.3)
    free = FreeBits(nats, per) if nats else None
    objective = Objective("auto", target, draws, free_bits=free)
    with seeded(3):
        measured = objective.measure(model, guide, (x,), data_size=90)
    with seeded(3):
        distortion, rate = (term.mean() for term in by_hand(model, guide, x, draws))
    expected = distortion + 0.3 * rate.clamp(min=nats)
    close = {"rtol": 1e-6, "atol": 1e-6}  # the noise is a float32 buffer, widened
    torch.testing.assert_close(measured.loss, expected, **close)
    torch.testing.assert_close(measured.figures["rate"], rate, **close)
    ours, theirs = (
        torch.autograd.grad(loss, parameters(model, guide)) for loss in (measured.loss, expected)
    )
    torch.testing.assert_close(ours, theirs, **close)


def test_with_weight_one_it_is_the_bound() -> None:
    model, guide, x = mixture()
    with seeded(3):
        found = Objective(kl_weight=TargetRate(1.0)).loss(model, guide, (x,))
    with seeded(3):
        plain = Objective().loss(model, guide, (x,))
    torch.testing.assert_close(found, plain)


class Both(pairs.MixturePrior):
    """The component colours the data too."""

    def forward(self, x: Tensor | None = None, size: int = 1) -> Tensor:
        with pyro.plate("data", size if x is None else len(x), dim=-1):
            weights = dist.Categorical(logits=self.logits)
            w = pyro.sample("w", weights, infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(self.loc[w], 1.0))
            return pyro.sample("x", dist.Normal(z + w, self.noise), obs=x)


class Shared(pairs.MixturePrior):
    """One component for all data."""

    def forward(self, x: Tensor | None = None, size: int = 1) -> Tensor:
        weights = dist.Categorical(logits=self.logits)
        w = pyro.sample("w", weights, infer={"enumerate": "parallel"})
        with pyro.plate("data", size if x is None else len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(self.loc[w], 1.0))
            return pyro.sample("x", dist.Normal(z, self.noise), obs=x)


@pytest.mark.parametrize("weight", [1.0, 0.4])
@pytest.mark.parametrize("free", [None, FreeBits(0.0), FreeBits(5.0)])
def test_data_that_depend_on_the_component_have_a_distortion_too(free: Any, weight: float) -> None:
    model, guide, x = Both().double(), Mixed().double(), data(9)
    objective = Objective("auto", weight, free_bits=free)
    with seeded(3):
        found = objective.loss(model, guide, (x,))
    with seeded(3):
        q = dist.Normal(guide.slope * x, 0.6)
        z = q.rsample()
    weights = model.logits.log_softmax(-1)
    prior = weights + dist.Normal(model.loc, 1.0).log_prob(z[:, None])
    joint = prior + dist.Normal(z[:, None] + torch.arange(2.0), 0.5).log_prob(x[:, None])
    distortion = prior.logsumexp(-1) - joint.logsumexp(-1)
    rate = (q.log_prob(z) - prior.logsumexp(-1)).mean()
    rate = rate.clamp(min=5.0) if free is not None and free.nats else rate
    torch.testing.assert_close(found, distortion.mean() + weight * rate, rtol=1e-6, atol=1e-6)


def test_a_component_that_all_data_share_is_refused_where_rates_are_asked_for() -> None:
    model, guide, x = Shared().double(), Mixed().double(), data(9)
    with pytest.raises(PairError, match="outside the data plate"):
        Objective(free_bits=FreeBits(1.0)).loss(model, guide, (x,))
    with seeded(3):
        found = Objective(kl_weight=0.4).loss(model, guide, (x,))
    with seeded(3):
        z = dist.Normal(guide.slope * x, 0.6).rsample()
    log_q = dist.Normal(guide.slope * x, 0.6).log_prob(z).sum()
    prior = model.logits.log_softmax(-1) + dist.Normal(model.loc, 1.0).log_prob(z[:, None]).sum(0)
    data_term = dist.Normal(z, 0.5).log_prob(x).sum()
    expected = (0.4 * (log_q - prior.logsumexp(0)) - data_term) / 9
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


class TwoCodes(nn.Module):
    """z of a mixture prior, and u of a plain one."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            u = pyro.sample("u", dist.Normal(self.loc.expand(len(x)), 1.0))
            w = pyro.sample("w", dist.Bernoulli(0.3), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(2 * w - 1, 1.0))
            pyro.sample("x", dist.Normal(u + z, 0.5), obs=x)


class TwoCodesGuide(nn.Module):
    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("u", dist.Normal(0.3 * x, 0.8))
            pyro.sample("z", dist.Normal(0.5 * x, 0.7))


def test_each_latent_has_its_weight_and_its_free_bits() -> None:
    model, guide, x = TwoCodes(), TwoCodesGuide(), data(9).float()
    with seeded(3):
        u, z = dist.Normal(0.3 * x, 0.8).sample(), dist.Normal(0.5 * x, 0.7).sample()
    rate_u = (dist.Normal(0.3 * x, 0.8).log_prob(u) - dist.Normal(0.0, 1.0).log_prob(u)).mean()
    weights, means = torch.tensor([0.7, 0.3]).log(), torch.tensor([-1.0, 1.0])
    prior = (weights + dist.Normal(means, 1.0).log_prob(z[:, None])).logsumexp(-1)
    rate_z = (dist.Normal(0.5 * x, 0.7).log_prob(z) - prior).mean()
    distortion = -dist.Normal(u + z, 0.5).log_prob(x).mean()
    by_site = {"u": 0.2, "z": 3.0}
    expected = distortion + 0.2 * rate_u + 3.0 * rate_z
    for free in (None, FreeBits(0.0)):
        with seeded(3):
            found = Objective(kl_weight=by_site, free_bits=free).loss(model, guide, (x,))
        torch.testing.assert_close(found, expected)
    with seeded(3):
        found = Objective(kl_weight=by_site, free_bits=FreeBits(9.0, sites="u")).loss(
            model, guide, (x,)
        )
    torch.testing.assert_close(found, distortion + 0.2 * 9.0 + 3.0 * rate_z)


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_free_bits_and_a_target_rate_leave_a_weighted_loss_as_it_is(weight: float) -> None:
    model, guide, x = mixture()
    losses = []
    for objective in (
        Objective(kl_weight=weight),
        Objective(kl_weight=weight, free_bits=FreeBits(0.0)),
        Objective(kl_weight=TargetRate(1.0, start=weight or 1e-9)),
    ):
        with seeded(3):
            loss = objective.loss(model, guide, (x,), data_size=90)
        losses.append((loss, torch.autograd.grad(loss, parameters(model, guide))))
    for other in losses[1:]:
        torch.testing.assert_close(losses[0], other, rtol=1e-6, atol=1e-6)


def test_a_rate_that_is_one_number_is_not_taken_apart() -> None:
    model, guide, x = mixture()
    with pytest.raises(PairError, match='per="total"'):
        Objective(free_bits=FreeBits(1.0, "element")).loss(model, guide, (x,))
    with pytest.raises(PairError, match="one latent site"):
        Objective(free_bits=FreeBits(1.0, sites=("w",))).loss(model, guide, (x,))
