from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from ppl_models.distributions.normal_mixture import DiagonalMixture, NormalMixture


def mixture() -> tuple[NormalMixture, torch.Tensor]:
    """Two rows of three components in two dims; in the second row the last one is not there."""
    present = torch.tensor([[True, True, True], [True, True, False]])
    return NormalMixture(torch.randn(2, 3, 2), torch.rand(2, 3, 2) + 0.3, present), present


def test_the_density_is_that_of_torch_s_mixture_of_the_components_that_are_there() -> None:
    distribution, present = mixture()
    weights = dist.Categorical(probs=present.float())
    parts = dist.Independent(dist.Normal(distribution.loc, distribution.scale), 1)
    known = dist.MixtureSameFamily(weights, parts)
    z = torch.randn(5, 2, 2)
    assert torch.allclose(distribution.log_prob(z), known.log_prob(z), atol=1e-5)
    assert torch.allclose(distribution.mean, known.mean, atol=1e-5)
    assert torch.allclose(distribution.variance, known.variance, atol=1e-5)


def test_draws_have_its_moments_in_any_batch_shape() -> None:
    distribution, _ = mixture()
    z = distribution.expand((4000, 2)).sample()
    assert z.shape == (4000, 2, 2) and distribution.rsample((3,)).shape == (3, 2, 2)
    error = (distribution.variance / 4000).sqrt()
    assert ((z.mean(0) - distribution.mean).abs() < 5 * error).all()
    assert torch.allclose(z.var(0), distribution.variance, rtol=0.15)  # 5 s.e. of a normal's: 0.11


def test_the_gradient_of_an_expectation_is_unbiased() -> None:
    loc = torch.tensor([[-1.0], [2.0]], requires_grad=True)
    distribution = NormalMixture(loc, torch.ones(2, 1), torch.tensor([True, True]))
    square = distribution.rsample((20000,)).square().mean()
    square.backward()
    # E z^2 = mean of loc^2 + 1; the gradient of each loc is loc_k, with an s.e. of about 0.02
    assert loc.grad is not None and torch.allclose(loc.grad, loc.detach(), atol=0.1)


def test_a_component_that_is_not_there_may_be_anything_finite() -> None:
    loc = torch.zeros(2, 1, requires_grad=True)
    distribution = NormalMixture(loc, torch.tensor([[1.0], [1e-6]]), torch.tensor([True, False]))
    log_prob = distribution.log_prob(torch.tensor([3.0]))
    assert torch.allclose(log_prob, dist.Normal(0.0, 1.0).log_prob(torch.tensor(3.0)))
    log_prob.backward()
    assert torch.equal(loc.grad[1], torch.zeros(1)) and loc.grad.isfinite().all()


# --- a mixture of many Gaussians ------------------------------------------------------------------


def many(count: int, size: int, spread: float = 0.1) -> tuple[Tensor, Tensor, Tensor]:
    """Means, scales and log weights as an encoder of digits makes them; double precision."""
    loc, logits = torch.randn(count, size).double(), torch.randn(count).double()
    return loc, spread * (0.5 * torch.randn(count, size).double()).exp(), logits


def reference(loc: Tensor, scale: Tensor, logits: Tensor) -> MixtureSameFamily:
    return MixtureSameFamily(Categorical(logits=logits), Independent(Normal(loc, scale), 1))


@pytest.mark.parametrize("spread", [1.0, 0.1, 0.01])
def test_a_mixture_of_many_is_torch_s_in_single_precision(spread: float) -> None:
    loc, scale, logits = (part.float() for part in many(500, 40, spread))
    z = torch.cat([loc[:20] + scale[:20] * torch.randn(20, 40), 3 * torch.randn(20, 40)])
    exact = reference(loc.double(), scale.double(), logits.double()).log_prob(z.double())
    found = DiagonalMixture(loc, scale, logits).log_prob(z)
    assert found.dtype == torch.float32
    # near components, 1e-4 nats; far ones, whose density is e^-1000 and less, 2e-7 of it
    assert ((found - exact).abs() <= 1e-4 + 2e-7 * exact.abs()).all()


def test_a_mixture_has_torch_s_gradient_whole_and_in_parts(monkeypatch) -> None:
    parameters = [part.requires_grad_() for part in many(6, 3, 0.5)]
    z = torch.randn(4, 5, 3, dtype=torch.float64, requires_grad=True)
    distributions = reference, DiagonalMixture
    grads = [
        torch.autograd.grad(m(*parameters).log_prob(z).sum(), [z, *parameters])
        for m in distributions
    ]
    monkeypatch.setattr(DiagonalMixture, "BUDGET", 20)  # three values at a time
    parts = DiagonalMixture(*parameters).log_prob(z)
    grads.append(torch.autograd.grad(parts.sum(), [z, *parameters]))
    assert torch.allclose(parts, reference(*parameters).log_prob(z))
    for exact, *others in zip(*grads, strict=True):
        assert all(torch.allclose(exact, other) for other in others)


def test_a_mixture_holds_no_more_than_its_budget(monkeypatch) -> None:
    distribution, sizes = DiagonalMixture(*many(50, 2)), []
    joint = DiagonalMixture.joint
    monkeypatch.setattr(DiagonalMixture, "BUDGET", 1000)
    monkeypatch.setattr(
        DiagonalMixture, "joint", lambda self, z: sizes.append(len(z)) or joint(self, z)
    )
    assert distribution.log_prob(torch.randn(7, 10, 2).double()).shape == (7, 10)
    assert sum(sizes) == 70 and max(sizes) == 20


def test_draws_of_a_mixture_have_its_moments() -> None:
    loc, scale, logits = many(3, 2, 0.5)
    distribution, truth = DiagonalMixture(loc, scale, logits), reference(loc, scale, logits)
    z = distribution.expand((5,)).sample((8000,))
    assert z.shape == (8000, 5, 2) and distribution.sample().shape == (2,)
    error = truth.stddev / 200  # of a mean of 40,000
    assert ((z.mean((0, 1)) - truth.mean).abs() < 4 * error).all()
    assert torch.allclose(z.var((0, 1)), truth.variance, rtol=0.05)


def test_a_mixture_s_value_broadcasts_with_its_plates() -> None:
    distribution = DiagonalMixture(*many(3, 2)).expand((4, 1))
    assert distribution.batch_shape == (4, 1) and distribution.event_shape == (2,)
    assert distribution.log_prob(torch.zeros(5, 2).double()).shape == (4, 5)
