"""A sequence as one site, many Gaussians: density by hand, shapes, mask, memory."""

from __future__ import annotations

import pyro
import pytest
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    Normal,
    kl_divergence,
)

from ppl_models.distributions import AutoregressiveNormal, DiagonalMixture
from ppl_models.motion import shift


def chain(a: Tensor, scale: float = 0.5, length: int = 6, **options) -> AutoregressiveNormal:
    """x_t ~ N(a x_{t-1}, scale^2), two dims."""

    def moments(x: Tensor) -> tuple[Tensor, Tensor]:
        x = x if "mask" not in options else torch.where(options["mask"][..., None], x, 0.0)
        return a * shift(x), torch.full_like(x, scale)

    def draw(batch: torch.Size) -> Tensor:
        x, xs = torch.zeros(*batch, 2, dtype=a.dtype), []
        for _ in range(length):
            x = a * x + scale * torch.randn_like(x)
            xs.append(x)
        return torch.stack(xs, -2)

    return AutoregressiveNormal(moments, draw, (length, 2), **options)


A = torch.tensor(0.8, dtype=torch.float64)


@pytest.mark.parametrize("batch", [(), (3,), (2, 1, 3)])
def test_density_is_the_sum_over_frames(batch: tuple[int, ...]) -> None:
    law = chain(A).expand(batch)
    x = law.rsample()
    assert law.batch_shape == batch and law.event_shape == (6, 2) and x.shape == (*batch, 6, 2)
    zero = torch.zeros_like(x[..., 0, :])
    by_frame = sum(
        Normal(A * (x[..., t - 1, :] if t else zero), 0.5).log_prob(x[..., t, :]).sum(-1)
        for t in range(6)
    )
    assert law.log_prob(x).shape == batch
    assert torch.allclose(law.log_prob(x), by_frame)


def test_density_broadcasts_over_draws_and_over_plates() -> None:
    law = chain(A).expand((3,))
    assert law.log_prob(law.rsample((5,))).shape == (5, 3)
    assert law.log_prob(chain(A).rsample()).shape == (3,)


def test_draws_have_the_law_s_variance() -> None:
    x = chain(A).rsample((20_000,))
    variance = torch.tensor([0.25 * sum(0.64**k for k in range(t + 1)) for t in range(6)])
    # a sample variance of n = 40,000 Gaussian values has relative standard error sqrt(2 / n)
    error = (x.var((0, 2)) / variance - 1).abs().max()
    assert error < 4.5 * (2 / 40_000) ** 0.5


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_frames_outside_the_mask_reach_neither_value_nor_gradient(poison: float) -> None:
    mask = torch.tensor([[True] * 4 + [False] * 2, [True] * 6])
    a = A.clone().requires_grad_()
    law = chain(a, mask=mask)
    assert law.batch_shape == (2,)
    x = law.rsample().detach()
    whole = chain(a, length=4).log_prob(x[0, :4])
    x[0, 4:] = poison
    x.requires_grad_()
    value = law.log_prob(x)
    value.sum().backward()
    assert torch.allclose(value[0], whole)
    assert torch.isfinite(a.grad) and torch.isfinite(x.grad).all() and torch.all(x.grad[0, 4:] == 0)


def test_wrong_event_shape_says_what_is_expected() -> None:
    with pytest.raises(ValueError, match=r"\(6, 2\).*\(5, 2\)"):
        chain(A).log_prob(torch.zeros(5, 2))


def test_kl_at_the_drawn_path_is_unbiased() -> None:
    q, p = chain(A, 0.5).expand((40_000,)), chain(0.5 * A, 0.7).expand((40_000,))
    x = q.rsample()
    exact_inside, plain = kl_divergence(q, p), q.log_prob(x) - p.log_prob(x)
    assert exact_inside.shape == (40_000,)
    error = (exact_inside - plain).std() / 40_000**0.5
    assert (exact_inside.mean() - plain.mean()).abs() < 4.5 * error
    assert exact_inside.var() < 0.2 * plain.var()


def test_masked_kl_counts_existing_frames() -> None:
    mask = torch.tensor([[True] * 4 + [False] * 2, [True] * 6])
    q, p = chain(A, 0.5, mask=mask), chain(0.5 * A, 0.7, mask=mask)
    x = q.rsample()
    short = (chain(A, 0.5, 4), chain(0.5 * A, 0.7, 4))
    short[0].drawn = x[0, :4]
    assert torch.allclose(kl_divergence(q, p)[0], kl_divergence(*short))


def test_one_site_in_a_plate() -> None:
    def model() -> Tensor:
        with pyro.plate("data", 3, dim=-1):
            return pyro.sample("x", chain(A))

    trace = poutine.trace(model).get_trace()
    trace.compute_log_prob()
    assert trace.nodes["x"]["value"].shape == (3, 6, 2)
    assert trace.nodes["x"]["log_prob"].shape == (3,)


# --- a mixture of many Gaussians ------------------------------------------------------------------


def mixture(count: int, size: int, spread: float = 0.1) -> tuple[Tensor, Tensor, Tensor]:
    """Means, scales and log weights as an encoder of digits makes them; double precision."""
    loc, logits = torch.randn(count, size).double(), torch.randn(count).double()
    return loc, spread * (0.5 * torch.randn(count, size).double()).exp(), logits


def reference(loc: Tensor, scale: Tensor, logits: Tensor) -> MixtureSameFamily:
    return MixtureSameFamily(Categorical(logits=logits), Independent(Normal(loc, scale), 1))


@pytest.mark.parametrize("spread", [1.0, 0.1, 0.01])
def test_a_mixture_of_many_is_torch_s_in_single_precision(spread: float) -> None:
    loc, scale, logits = (part.float() for part in mixture(500, 40, spread))
    z = torch.cat([loc[:20] + scale[:20] * torch.randn(20, 40), 3 * torch.randn(20, 40)])
    exact = reference(loc.double(), scale.double(), logits.double()).log_prob(z.double())
    seen = DiagonalMixture(loc, scale, logits).log_prob(z)
    assert seen.dtype == torch.float32
    # near components, 1e-4 nats; far ones, whose density is e^-1000 and less, 2e-7 of it
    assert ((seen - exact).abs() <= 1e-4 + 2e-7 * exact.abs()).all()


def test_a_mixture_has_torch_s_gradient_whole_and_in_parts(monkeypatch) -> None:
    parameters = [part.requires_grad_() for part in mixture(6, 3, 0.5)]
    z = torch.randn(4, 5, 3, dtype=torch.float64, requires_grad=True)
    laws = reference, DiagonalMixture
    grads = [torch.autograd.grad(m(*parameters).log_prob(z).sum(), [z, *parameters]) for m in laws]
    monkeypatch.setattr(DiagonalMixture, "BUDGET", 20)  # three values at a time
    parts = DiagonalMixture(*parameters).log_prob(z)
    grads.append(torch.autograd.grad(parts.sum(), [z, *parameters]))
    assert torch.allclose(parts, reference(*parameters).log_prob(z))
    for exact, *others in zip(*grads, strict=True):
        assert all(torch.allclose(exact, other) for other in others)


def test_a_mixture_holds_no_more_than_its_budget(monkeypatch) -> None:
    law, sizes = DiagonalMixture(*mixture(50, 2)), []
    joint = DiagonalMixture.joint
    monkeypatch.setattr(DiagonalMixture, "BUDGET", 1000)
    monkeypatch.setattr(
        DiagonalMixture, "joint", lambda self, z: sizes.append(len(z)) or joint(self, z)
    )
    assert law.log_prob(torch.randn(7, 10, 2).double()).shape == (7, 10)
    assert sum(sizes) == 70 and max(sizes) == 20


def test_draws_of_a_mixture_have_its_moments() -> None:
    loc, scale, logits = mixture(3, 2, 0.5)
    law, truth = DiagonalMixture(loc, scale, logits), reference(loc, scale, logits)
    z = law.expand((5,)).sample((8000,))
    assert z.shape == (8000, 5, 2) and law.sample().shape == (2,)
    error = truth.stddev / 200  # of a mean of 40,000
    assert ((z.mean((0, 1)) - truth.mean).abs() < 4 * error).all()
    assert torch.allclose(z.var((0, 1)), truth.variance, rtol=0.05)


def test_a_mixture_s_value_broadcasts_with_its_plates() -> None:
    law = DiagonalMixture(*mixture(3, 2)).expand((4, 1))
    assert law.batch_shape == (4, 1) and law.event_shape == (2,)
    assert law.log_prob(torch.zeros(5, 2).double()).shape == (4, 5)
