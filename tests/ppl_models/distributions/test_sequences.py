"""A sequence as one site: density by hand, shapes, mask."""

from __future__ import annotations

import pyro
import pytest
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from ppl_models.distributions.sequences import AutoregressiveNormal, SequenceDistribution
from ppl_models.sequences import shift


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
    distribution = chain(A).expand(batch)
    x = distribution.rsample()
    assert (
        distribution.batch_shape == batch
        and distribution.event_shape == (6, 2)
        and x.shape == (*batch, 6, 2)
    )
    zero = torch.zeros_like(x[..., 0, :])
    by_frame = sum(
        Normal(A * (x[..., t - 1, :] if t else zero), 0.5).log_prob(x[..., t, :]).sum(-1)
        for t in range(6)
    )
    assert distribution.log_prob(x).shape == batch
    assert torch.allclose(distribution.log_prob(x), by_frame)


def test_density_broadcasts_over_draws_and_over_plates() -> None:
    distribution = chain(A).expand((3,))
    assert distribution.log_prob(distribution.rsample((5,))).shape == (5, 3)
    assert distribution.log_prob(chain(A).rsample()).shape == (3,)


def test_draws_have_the_distribution_s_variance() -> None:
    x = chain(A).rsample((20_000,))
    variance = torch.tensor([0.25 * sum(0.64**k for k in range(t + 1)) for t in range(6)])
    # a sample variance of n = 40,000 Gaussian values has relative standard error sqrt(2 / n)
    error = (x.var((0, 2)) / variance - 1).abs().max()
    assert error < 4.5 * (2 / 40_000) ** 0.5


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_frames_outside_the_mask_reach_neither_value_nor_gradient(poison: float) -> None:
    mask = torch.tensor([[True] * 4 + [False] * 2, [True] * 6])
    a = A.clone().requires_grad_()
    distribution = chain(a, mask=mask)
    assert distribution.batch_shape == (2,)
    x = distribution.rsample().detach()
    whole = chain(a, length=4).log_prob(x[0, :4])
    x[0, 4:] = poison
    x.requires_grad_()
    value = distribution.log_prob(x)
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


# Frames of any distribution --------------------------------------------------------------------


def walk(batch: tuple[int, ...] = (), mask: Tensor | None = None) -> SequenceDistribution:
    """s_t ~ N(s_{t-1}, 1), one number a frame, three frames."""

    def distribution(value: Tensor) -> Independent:
        before = torch.cat([torch.zeros_like(value[..., :1, :]), value[..., :-1, :]], -2)
        return Independent(Normal(before, 1.0), 1)

    return SequenceDistribution(
        distribution, lambda b: torch.randn(*b, 3, 1).cumsum(-2), (3, 1), mask=mask
    ).expand(batch)


def test_a_sequence_distribution_is_the_product_of_its_frames() -> None:
    distribution = walk((4,))
    s = distribution.sample((5,))
    assert s.shape == (5, 4, 3, 1) and distribution.log_prob(s).shape == (5, 4)
    covariance = torch.minimum(*torch.meshgrid(*2 * [torch.arange(1.0, 4)], indexing="ij"))
    exact = MultivariateNormal(torch.zeros(3), covariance)
    assert torch.allclose(distribution.log_prob(s), exact.log_prob(s[..., 0]), atol=1e-5)
    assert torch.allclose(distribution.score_frames(s).sum(-1), distribution.log_prob(s))


def test_frames_that_do_not_exist_add_nothing() -> None:
    mask = torch.tensor([[True, True, True], [True, False, False]])
    distribution, s = walk(mask=mask), torch.ones(2, 3, 1)
    assert distribution.batch_shape == (2,)
    first = Normal(0.0, 1.0).log_prob(torch.tensor(1.0))
    assert torch.allclose(distribution.log_prob(s)[1], first)
    assert torch.equal(distribution.score_frames(s)[1, 1:], torch.zeros(2))


def test_a_value_of_another_shape_is_named() -> None:
    with pytest.raises(ValueError, match=r"event shape \(3, 1\)"):
        walk().log_prob(torch.zeros(4, 1))
