"""Linear motion against dense Gaussians, written out from the model's equations."""

from __future__ import annotations

import pyro
import pytest
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from guides.linear_motion import LinearMotionGuide
from inference import check
from ppl_models.errors import InputError
from ppl_models.linear_motion import LinearMotion, Walk
from tests.dense import covariance

T, D = 6, 4


def build() -> LinearMotion:
    return LinearMotion(decay=(1.0, 0.9, 0.5, 0.8)).double()


def log_probs(model: LinearMotion, s: Tensor, z: Tensor, mask: Tensor | None = None):
    """Log densities of z and of s given z, (B) each, and the trace."""
    conditioned = poutine.condition(model, data={"z": z})
    trace = poutine.trace(conditioned).get_trace(s, mask)
    trace.compute_log_prob()
    return trace.nodes["z"]["log_prob"], trace.nodes["s"]["log_prob"]


def test_joint_density_is_the_dense_gaussian_s() -> None:
    model = build()
    s, z = torch.randn(2, 3, T, D, dtype=torch.float64)
    joint = sum(log_probs(model, s, z))
    expected = sum(
        MultivariateNormal(torch.zeros(2 * T, dtype=torch.float64), cov).log_prob(
            torch.cat([z[..., d], s[..., d]], -1)
        )
        for d, cov in enumerate(covariance(model, T))
    )
    # the smallest variance is 1e-6, so a squared error of order 1 has 1e6 nats
    assert torch.allclose(joint, expected, rtol=1e-10)


def test_simulated_paths_have_the_dense_moments() -> None:
    model, draws = build(), 20_000
    trace = poutine.trace(model).get_trace(size=draws, length=T)
    z, s = (trace.nodes[name]["value"].detach() for name in "zs")
    for d, cov in enumerate(covariance(model, T)):
        x = torch.cat([z[..., d], s[..., d]], -1)
        deviation = cov.diag().sqrt()
        # within 5 standard errors, 48 means and 312 (co)variances: 360 chances of 6e-7
        assert ((x.mean(0) / deviation).abs() < 5 / draws**0.5).all()
        error = (x.T @ x / draws - cov) / torch.outer(deviation, deviation)
        correlation = cov / torch.outer(deviation, deviation)
        assert (error.abs() < 5 * ((1 + correlation**2) / draws).sqrt()).all()


def test_step_by_step_is_all_at_once_in_value_and_gradient() -> None:
    model = build()
    s, z = torch.randn(2, 3, T, D, dtype=torch.float64, requires_grad=True)
    at_once = sum(part.sum() for part in log_probs(model, s, z))
    steps = []
    nu, sigma, epsilon = (
        x.exp() for x in (model.log_speed, model.log_speed_noise, model.log_position_noise)
    )
    for t in range(T):
        before = model.decay * z[:, t - 1] if t else torch.zeros_like(z[:, 0])
        steps.append(Normal(before, sigma if t else nu).log_prob(z[:, t]))
        place = s[:, t - 1] + z[:, t] if t else torch.zeros_like(z[:, 0])
        scale = epsilon if t else torch.ones_like(epsilon) * model.start_scale
        steps.append(Normal(place, scale).log_prob(s[:, t]))
    stepwise = torch.stack(steps).sum()
    assert torch.allclose(at_once, stepwise, rtol=1e-12)
    wanted = [*model.parameters(), z, s]
    for a, b in zip(*(torch.autograd.grad(x, wanted) for x in (at_once, stepwise)), strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-9)


def test_padding_counts_nothing_whatever_it_holds() -> None:
    model = build()
    s, z = torch.randn(2, 3, T, D, dtype=torch.float64)
    lengths = torch.tensor([T, 3, 1])
    mask = torch.arange(T) < lengths[:, None]
    hidden = torch.where(mask[..., None], s, torch.nan).requires_grad_()
    wild = torch.where(mask[..., None], z, torch.nan)
    joint = sum(log_probs(model, hidden, wild, mask))
    for b, length in enumerate(lengths):
        alone = sum(log_probs(model, s[b : b + 1, :length], z[b : b + 1, :length]))
        assert torch.allclose(joint[b], alone[0], rtol=1e-12)
    joint.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert (hidden.grad[~mask] == 0).all() and torch.isfinite(hidden.grad).all()


def test_walk_expands_to_the_plates_around() -> None:
    walk = Walk(torch.randn(T, D), torch.ones(D), torch.ones(D), torch.full((D,), 0.5))
    assert walk.batch_shape == () and walk.event_shape == (T, D)
    more = walk.expand((5, 2))
    x = more.sample((7,))
    assert x.shape == (7, 5, 2, T, D) and more.log_prob(x).shape == (7, 5, 2)
    assert torch.equal(more.log_prob(x), walk.log_prob(x))
    masked = Walk(torch.zeros(T, D), *walk.scale.expand(3, D), mask=torch.ones(4, T) > 0)
    assert masked.batch_shape == (4,) and masked.expand((3, 4)).rsample((2,)).shape[:3] == (2, 3, 4)


def test_a_walk_in_plates_draws_one_path_a_place() -> None:
    model = build()
    with pyro.plate("sequence", 3, dim=-3), pyro.plate("source", 2, dim=-1):
        z, s = model.path(T)
    assert z.shape == s.shape == (3, 1, 2, T, D)


@pytest.mark.parametrize("length", [1, 2, 7])
def test_the_pair_is_checked(length: int) -> None:
    model = LinearMotion()
    s = model(size=5, length=length).detach()
    report = check(model, LinearMotionGuide(model), s, torch.ones(5, length, dtype=torch.bool))
    assert [row.name for row in report.sites] == ["z", "s"]


@pytest.mark.parametrize(
    ("s", "mask", "argument"),
    [
        (torch.zeros(3, T), None, "s"),
        (torch.zeros(3, T, 2), None, "s"),
        (torch.zeros(3, T, D), torch.ones(3, T), "mask"),
        (torch.zeros(1, 3, D), torch.tensor([[True, False, True]]), "mask"),
    ],
)
def test_bad_paths_are_named(s: Tensor, mask: Tensor | None, argument: str) -> None:
    for part in (model := LinearMotion(), LinearMotionGuide(model)):
        with pytest.raises(InputError, match=argument):
            part(s, mask)


def test_paths_with_gaps_are_refused() -> None:
    s = torch.randn(2, 5, 4).double()
    with pytest.raises(InputError, match="gaps in paths"):
        build()(s, observed=torch.ones(2, 5, dtype=torch.bool))
