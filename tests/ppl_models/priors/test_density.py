"""A flow and a density ratio as priors: they integrate to one, and learn what they are shown."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from ppl_models.errors import InputError
from ppl_models.networks.mlp import MLP
from ppl_models.priors.density import AggregatedPosterior, FlowPrior


def grid(reach: float = 7.0, count: int = 281) -> tuple[Tensor, float]:
    """Points (count^2, 2) in a square, and the area of each."""
    line = torch.linspace(-reach, reach, count, dtype=torch.float64)
    return torch.cartesian_prod(line, line), (2 * reach / (count - 1)) ** 2


def banana(num: int) -> tuple[Tensor, float]:
    """Draws of z_1 ~ N(0, 1), z_2 ~ N(z_1^2 - 1, 0.5), and their entropy in nats."""
    first = torch.randn(num)
    second = first**2 - 1 + 0.5 * torch.randn(num)
    entropy = math.log(2 * math.pi * math.e) + math.log(0.5)
    return torch.stack([first, second], -1), entropy


def test_a_flow_integrates_to_one() -> None:
    torch.manual_seed(1)
    prior = FlowPrior(2, 3, hidden_dims=(8, 8)).double()
    z, area = grid()
    assert prior.log_prob(z).exp().sum().item() * area == pytest.approx(1, abs=1e-3)


def test_a_flow_s_draws_are_its_noise_s_images() -> None:
    prior = FlowPrior(3, 2, hidden_dims=(8, 8)).double()
    z = prior.distribution().expand((4,)).sample((5,))
    assert z.shape == (5, 4, 3)
    total, noise = torch.zeros(5, 4), z
    for layer in prior.layers:  # by the definition, dim by dim
        mean, log_scale = prior._moments(layer, noise)
        noise = torch.stack(
            [(noise[..., i] - mean[..., i]) / log_scale[..., i].exp() for i in range(3)], -1
        ).flip(-1)
        total = total - log_scale.sum(-1)
    by_hand = Normal(0.0, 1.0).log_prob(noise).sum(-1) + total
    assert torch.allclose(prior.log_prob(z), by_hand)
    jacobian = torch.func.jacrev(lambda e: prior._moments(prior.layers[0], e)[0])(z[0, 0])
    assert (jacobian.triu() == 0).all()  # mean_i reads z_{<i}


def test_a_flow_learns_a_banana() -> None:
    prior, (z, entropy) = FlowPrior(2, 2, hidden_dims=(16, 16)), banana(1000)
    optimizer = torch.optim.Adam(prior.parameters(), 2e-2)
    for _ in range(150):
        optimizer.zero_grad()
        (-prior.log_prob(z).mean()).backward()
        optimizer.step()
    fresh, _ = banana(4000)
    scores = prior.log_prob(fresh).detach()
    assert entropy < -scores.mean() + 4 * scores.std() / math.sqrt(4000)
    assert -scores.mean() < entropy + 0.1


def test_a_flow_of_one_dim_is_a_normal() -> None:
    prior, z = FlowPrior(1, 1, hidden_dims=(4, 4)), torch.randn(6, 1)
    mean, log_scale = prior._moments(prior.layers[0], z)
    by_hand = Normal(mean, log_scale.exp()).log_prob(z).sum(-1)
    assert torch.allclose(prior.log_prob(z), by_hand, atol=1e-6) and mean.std() == 0


def test_a_density_ratio_integrates_to_one_within_its_error() -> None:
    torch.manual_seed(1)
    prior = AggregatedPosterior(2, MLP(2, 8, 1)).double()
    with torch.no_grad():
        prior.critic[-1].weight.mul_(4)
    prior.normalise()
    z, area = grid()
    total = prior.log_prob(z).exp().sum().item() * area
    assert 0 < prior.log_z_error < 0.02
    assert abs(math.log(total)) < 4 * prior.log_z_error.item()
    before = prior.log_z.item()
    prior.normalise(100, seed=3)
    assert prior.log_z.item() != before and prior.log_z_error > 0.02


def test_normalising_leaves_the_generator_alone(untouched: None) -> None:
    with torch.random.fork_rng():
        prior = AggregatedPosterior(2, MLP(2, 8, 1))
    prior.normalise()


def test_a_ratio_s_draws_lean_where_its_critic_does() -> None:
    critic = torch.nn.Linear(2, 1)
    with torch.no_grad():
        critic.weight.copy_(torch.tensor([[1.0, -0.5]]))
    prior = AggregatedPosterior(2, critic)  # N(0, I) exp(a z) is N(a, I)
    z = prior.distribution().sample((4000,))
    # 4 / sqrt(4000) = 0.063; sampling from 200 candidates adds a bias of the order of 1/200
    assert torch.allclose(z.mean(0), torch.tensor([1.0, -0.5]), atol=0.08)
    exact = Normal(torch.tensor([1.0, -0.5]), 1.0).log_prob(z).sum(-1)
    assert (prior.log_prob(z) - exact).abs().max() < 4 * prior.log_z_error


@pytest.mark.parametrize(
    "make",
    [
        lambda: FlowPrior(0),
        lambda: FlowPrior(2, 0),
        lambda: FlowPrior(9, hidden_dims=(8, 8)),
        lambda: AggregatedPosterior(2, num_samples=1),
    ],
)
def test_sizes_are_counts(make) -> None:
    with pytest.raises(InputError, match="whole number"):
        make()


def test_two_numbers_of_draws_estimate_one_normaliser() -> None:
    """E exp(a z) = exp(|a|^2 / 2) for standard z, whatever the number and the seed of the draws."""
    critic = torch.nn.Linear(2, 1)
    with torch.no_grad():
        critic.weight.copy_(torch.tensor([[0.6, -0.3]]))
        critic.bias.zero_()
    prior, found = AggregatedPosterior(2, critic), []
    for num_samples, seed in ((500, 0), (20_000, 0), (20_000, 1)):
        prior.normalise(num_samples, seed)
        found.append((prior.log_z.item(), prior.log_z_error.item()))
        # four of its own errors; that error is sqrt((exp(|a|^2) - 1) / M), by hand, within a fifth
        assert abs(found[-1][0] - 0.225) < 4 * found[-1][1]
        by_hand = math.sqrt(math.expm1(0.45) / num_samples)
        assert found[-1][1] == pytest.approx(by_hand, rel=0.2)
    assert len(set(found)) == 3  # another number and another seed are other draws


def test_few_candidates_leave_a_draw_near_the_standard_normal() -> None:
    """Of one candidate there is no choice; of many, exp(a z) N(0, I) is N(a, I)."""
    critic = torch.nn.Linear(1, 1)
    with torch.no_grad():
        critic.weight.fill_(1.0)
    means = [
        AggregatedPosterior(1, critic, num_samples=2, candidates=count)
        .distribution()
        .sample((4000,))
        .mean()
        .item()
        for count in (1, 2, 100)
    ]
    # E of the larger-weighted of two: E[(z1 e^z1 + z2 e^z2) / (e^z1 + e^z2)] = 0.413 by quadrature
    for mean, known in zip(means, (0.0, 0.413, 1.0), strict=True):
        assert mean == pytest.approx(known, abs=0.08)  # four standard errors, 4 / sqrt(4000)
