from __future__ import annotations

import math
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from inference.errors import PairError
from inference.objectives import Objective, TargetRate
from inference.objectives import importance_weighted as many_draws
from inference.objectives.importance_weighted import draw_many, iwae, renyi
from inference.objectives.pair_trace import trace_pair
from inference.objectives.step import Step
from inference.randomness import seeded
from inference.tracing.layout import layout
from tests import pairs
from tests.inference.objectives.test_objective import data
from tests.inference.objectives.test_pathwise_elbo import AUTO, Coin, CoinGuide, case


def parameters(*modules: nn.Module) -> list[nn.Parameter]:
    return [p for module in modules for p in module.parameters() if p.requires_grad]


def linear() -> tuple[nn.Module, nn.Module, Tensor]:
    """A linear VAE, whose evidence is known, with a guide that is not the posterior."""
    with seeded(4):
        pair = pairs.Amortised().double(), pairs.AmortisedGuide().double()
    return *pair, data(30, 4)


class Mixed(nn.Module):
    """A guide for `pairs.MixturePrior`."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.7))

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(self.slope * x, 0.6))


class Flat(nn.Module):
    """The guide of `pairs.Conjugate`, in a way that does not broadcast over draws."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.7))

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("u", dist.Normal(self.slope * x, 0.8))
            pyro.sample("z", dist.Normal(torch.stack([z[i] for i in range(len(x))]), 0.1))


@pytest.mark.parametrize("kind", ["iwae", "renyi"])
@pytest.mark.parametrize("name", ["vae", "bits", "local", "subsampled"])
def test_one_draw_is_the_elbo(name: str, kind: Any) -> None:
    model, guide, x = case(name)
    with pyro.validation_enabled(False):
        found = []
        for objective in (Objective(kind, alpha=0.3), Objective("trace")):
            with seeded(5):
                loss = objective.loss(model, guide, (x,), data_size=60 if len(x) != 60 else None)
            found.append((loss, torch.autograd.grad(loss, parameters(model, guide))))
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-10)


def by_hand(model: Any, guide: Any, x: Tensor, draws: int, weight: float) -> Tensor:
    """Log weights (K, B) of the linear VAE, from the noise of one run of all draws."""
    loc, log_scale = guide.encoder(x).chunk(2, -1)
    q = dist.Normal(loc, log_scale.exp()).to_event(1)
    z = q.expand((draws, len(x))).rsample()
    prior = dist.Normal(torch.zeros(2).double(), 1.0).to_event(1)
    likelihood = dist.Normal(model.decoder(z), 0.5).to_event(1)
    ratio = prior.log_prob(z) - q.log_prob(z)
    return likelihood.log_prob(x) + weight * ratio


@pytest.mark.parametrize("weight", [1.0, 0.4])
@pytest.mark.parametrize("alpha", [0.0, 0.5, -1.0, 1.0, 2.0])
def test_bounds_by_brute_force(alpha: float, weight: float) -> None:
    model, guide, x = linear()
    objective = Objective("renyi", alpha=alpha, num_particles=6, kl_weight=weight)
    with seeded(5):
        loss = objective.loss(model, guide, (x,))
    with seeded(5):
        weights = by_hand(model, guide, x, 6, weight).exp()
    if alpha == 1:
        expected = weights.log().mean(0)
    else:
        expected = (weights ** (1 - alpha)).mean(0).log() / (1 - alpha)
    torch.testing.assert_close(-loss, expected.mean(), rtol=1e-10, atol=1e-10)
    ours, theirs = (
        torch.autograd.grad(value, parameters(model, guide)) for value in (-loss, expected.mean())
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    if alpha == 0:
        with seeded(5):
            same = Objective("iwae", num_particles=6, kl_weight=weight).loss(model, guide, (x,))
        torch.testing.assert_close(same, loss, rtol=1e-12, atol=1e-12)


def test_renyi_is_continuous_at_one_and_falls_with_alpha() -> None:
    weights = 3 * torch.randn(50, 7).double()
    near = renyi(weights, 1 + 1e-5)
    torch.testing.assert_close(near, renyi(weights, 1.0), rtol=0, atol=1e-3)  # 1e-5 of a variance
    bounds = [renyi(weights, alpha).mean() for alpha in (-1.0, 0.0, 0.5, 1.0, 2.0)]
    assert bounds == sorted(bounds, reverse=True)
    assert bool((iwae(weights) <= weights.max(0).values).all())


def test_the_bound_rises_to_the_evidence() -> None:
    model, guide, x = linear()
    found = []
    with seeded(1), torch.no_grad():
        for draws in (1, 5, 50, 2000):
            objective = Objective("iwae", num_particles=draws)
            found.append(-objective.loss(model, guide, (x.repeat(8, 1),)).item())
    exact = model.evidence(x).mean().item()
    assert found == sorted(found)
    assert found[0] < exact - 1
    assert abs(found[-1] - exact) < 0.1  # a guide this far off leaves a bias of some hundredths


def test_chunks_have_the_same_gradient_in_less_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model, guide, x = linear()
    sizes: list[int] = []
    model.decoder.register_forward_hook(lambda module, inputs, out: sizes.append(len(out)))
    objective = Objective("iwae", num_particles=7, chunk=3)
    objective.loss(model, guide, (x,))  # finds out whether draws can be made at once
    found = []
    for keep in (False, True):
        if keep:
            monkeypatch.setattr(many_draws, "checkpoint", lambda run, *a, **k: run(*a))
        sizes.clear()
        with seeded(2):
            loss = objective.loss(model, guide, (x,))
            found.append((loss, torch.autograd.grad(loss, parameters(model, guide))))
        assert sizes == ([3, 3, 1] if keep else [3, 3, 1, 1, 3, 3])  # each run again, backwards
    torch.testing.assert_close(*found, rtol=0, atol=0)
    with seeded(2), torch.no_grad():
        torch.testing.assert_close(objective.loss(model, guide, (x,)), found[0][0])


def test_sites_that_are_summed_out_are_summed_in_the_weights() -> None:
    model, guide, x = pairs.MixturePrior().double(), Mixed().double(), data(9)
    with seeded(3):
        loss = Objective("iwae", num_particles=4, chunk=4).loss(model, guide, (x,))
    with seeded(3):
        q = dist.Normal(guide.slope * x, 0.6)
        z = q.expand((4, 9)).rsample()
    weights = model.logits.log_softmax(-1)
    prior = (weights + dist.Normal(model.loc, 1.0).log_prob(z[..., None])).logsumexp(-1)
    by_sum = dist.Normal(z, 0.5).log_prob(x) + prior - q.log_prob(z)
    expected = iwae(by_sum).mean()
    torch.testing.assert_close(-loss, expected, rtol=1e-6, atol=1e-6)  # noise is a float32 buffer
    ours, theirs = (
        torch.autograd.grad(value, parameters(model, guide)) for value in (-loss, expected)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    for weight in (0.5, TargetRate(1.0)):
        with pytest.raises(PairError, match="kl_weight=1"):
            Objective("iwae", kl_weight=weight).loss(model, guide, (x,))


def test_a_pair_that_does_not_broadcast_is_drawn_from_again_and_again() -> None:
    class Chain(pairs.Conjugate):
        def forward(self, x: Tensor | None = None, size: int = 1) -> Tensor:
            with pyro.plate("data", size if x is None else len(x), dim=-1):
                u = pyro.sample("u", dist.Normal(0 * self.prior, self.prior))
                z = pyro.sample("z", dist.Normal(u, 1.0))
                return pyro.sample("x", dist.Normal(z, self.log_noise.exp()), obs=x)

    model, guide, x = Chain().double(), Flat().double(), data(5)
    shape = layout(model, guide, (x,))
    with seeded(2):
        found = draw_many(Step.of(model, guide, (x,), {}, None, None), 3)
    with seeded(2):
        views = [trace_pair(model, guide, (x,), {}, shape, 5) for _ in range(3)]
    for draw, view in enumerate(views):
        torch.testing.assert_close(found.data[draw], view.observed())
    assert found.ratio is not None and found.ratio.shape == (3, 5)
    for chunk in (None, 2):
        Objective("iwae", num_particles=3, chunk=chunk).loss(model, guide, (x,)).backward()
        assert guide.slope.grad is not None and guide.slope.grad.isfinite()


class WithoutLatents(nn.Module):
    """x ~ N(loc, 1): a model without latents."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(self.loc, 1.0), obs=x)


def test_without_latents_it_is_the_evidence() -> None:
    x = data(6)
    loss = Objective("iwae", num_particles=3).loss(WithoutLatents(), pairs.NoLatents(), (x,))
    torch.testing.assert_close(-loss, dist.Normal(0.3, 1.0).log_prob(x).mean())


def test_the_reported_bound_is_the_elbo() -> None:
    model, guide, x = linear()
    with seeded(0):
        plain = Objective().bound(model, guide, (x,))
    with seeded(0):
        assert torch.equal(Objective("iwae", num_particles=50).bound(model, guide, (x,)), plain)


@pytest.mark.parametrize("name", ["global", AUTO[0]])
def test_a_site_outside_the_plate_is_refused(name: str) -> None:
    model, guide, x = case(name)
    with pytest.raises(PairError, match="outside the data plate"):
        Objective("iwae").loss(model, guide, (x,))


def test_a_draw_without_a_path_is_refused() -> None:
    with pytest.raises(PairError, match="no differentiable function"):
        Objective("iwae").loss(Coin(), CoinGuide(), (torch.randn(4),))


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "renyi", "alpha": math.nan},
        {"kind": "renyi", "alpha": math.inf},
        {"kind": "iwae", "chunk": 0},
        {"kind": "trace", "chunk": 3},
    ],
)
def test_settings_are_checked(wrong: Any) -> None:
    with pytest.raises(ValueError, match="alpha is|chunk is"):
        Objective(**wrong)


def test_nothing_is_left_behind(untouched: None) -> None:
    model, guide, x = linear()
    with seeded(0):
        Objective("iwae", num_particles=3).loss(model, guide, (x,))
        Objective("iwae", num_particles=3).loss(model, guide, (x[:4],))
