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


@pytest.mark.parametrize(
    ("model", "message"), [(Both, "data that depend on 'w'"), (Shared, "outside the data plate")]
)
def test_a_sum_that_is_not_over_the_prior_is_refused(model: Any, message: str) -> None:
    with pytest.raises(PairError, match=message):
        Objective(free_bits=FreeBits(1.0)).loss(model().double(), Mixed().double(), (data(9),))


def test_a_rate_that_is_one_number_is_not_taken_apart() -> None:
    model, guide, x = mixture()
    with pytest.raises(PairError, match='per="total"'):
        Objective(free_bits=FreeBits(1.0, "element")).loss(model, guide, (x,))
    with pytest.raises(PairError, match="one latent site"):
        Objective(free_bits=FreeBits(1.0, sites=("w",))).loss(model, guide, (x,))
