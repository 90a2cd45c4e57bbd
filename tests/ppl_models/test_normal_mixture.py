from __future__ import annotations

import pyro.distributions as dist
import torch

from ppl_models.normal_mixture import NormalMixture


def mixture() -> tuple[NormalMixture, torch.Tensor]:
    """Two rows of three components in two dims; in the second row the last one is not there."""
    present = torch.tensor([[True, True, True], [True, True, False]])
    return NormalMixture(torch.randn(2, 3, 2), torch.rand(2, 3, 2) + 0.3, present), present


def test_the_density_is_that_of_torch_s_mixture_of_the_components_that_are_there() -> None:
    law, present = mixture()
    weights = dist.Categorical(probs=present.float())
    parts = dist.Independent(dist.Normal(law.loc, law.scale), 1)
    known = dist.MixtureSameFamily(weights, parts)
    z = torch.randn(5, 2, 2)
    assert torch.allclose(law.log_prob(z), known.log_prob(z), atol=1e-5)
    assert torch.allclose(law.mean, known.mean, atol=1e-5)
    assert torch.allclose(law.variance, known.variance, atol=1e-5)


def test_draws_have_its_moments_in_any_batch_shape() -> None:
    law, _ = mixture()
    z = law.expand((4000, 2)).sample()
    assert z.shape == (4000, 2, 2) and law.rsample((3,)).shape == (3, 2, 2)
    error = (law.variance / 4000).sqrt()
    assert ((z.mean(0) - law.mean).abs() < 5 * error).all()
    assert torch.allclose(z.var(0), law.variance, rtol=0.15)  # 5 s.e. of a normal's: 0.11


def test_the_gradient_of_an_expectation_is_unbiased() -> None:
    loc = torch.tensor([[-1.0], [2.0]], requires_grad=True)
    law = NormalMixture(loc, torch.ones(2, 1), torch.tensor([True, True]))
    square = law.rsample((20000,)).square().mean()
    square.backward()
    # E z^2 = mean of loc^2 + 1; the gradient of each loc is loc_k, with an s.e. of about 0.02
    assert loc.grad is not None and torch.allclose(loc.grad, loc.detach(), atol=0.1)


def test_a_component_that_is_not_there_may_be_anything_finite() -> None:
    loc = torch.zeros(2, 1, requires_grad=True)
    law = NormalMixture(loc, torch.tensor([[1.0], [1e-6]]), torch.tensor([True, False]))
    log_prob = law.log_prob(torch.tensor([3.0]))
    assert torch.allclose(log_prob, dist.Normal(0.0, 1.0).log_prob(torch.tensor(3.0)))
    log_prob.backward()
    assert torch.equal(loc.grad[1], torch.zeros(1)) and loc.grad.isfinite().all()
