"""Residual steps: by hand, at once, and to the limit of small ones."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch

from ppl_models.video import ResidualPath, ResidualStep, SoftplusNormal
from tests.videos import assert_alike, gradients

B, N, Y, L = 3, 5, 4, 2


def parts(num_steps: int = 1) -> tuple[SoftplusNormal, ResidualStep, torch.Tensor]:
    torch.manual_seed(2)
    prior = SoftplusNormal(Y, 6, 2 * L, activation=torch.nn.ReLU).double()
    step = ResidualStep(Y, L, (7, 6), num_steps=num_steps).double()
    return prior, step, torch.randn(B, Y).double()


@pytest.mark.parametrize("num_steps", [1, 3])
def test_states_and_density_are_those_of_a_loop(num_steps: int) -> None:
    prior, step, h_1 = parts(num_steps)
    z = torch.randn(B, N, L).double()
    path = ResidualPath(prior, step, h_1, N)
    states, residuals = path.states(z)
    assert path.states(z)[0] is states  # once for the states and for the density
    h, total, wanted = h_1, torch.zeros(B).double(), [h_1]
    for t in range(N):
        total = total + dist.Normal(*prior.moments(h)).log_prob(z[:, t]).sum(-1)
        for _ in range(num_steps):
            first = step.of_state(h) + step.of_noise(z[:, t])
            h = h + step.rest(first) / num_steps
        wanted.append(h)
    assert_alike(states, torch.stack(wanted, 1), 1e-10)
    assert_alike(residuals, states[:, 1:] - states[:, :-1], 1e-10)
    found = path.noise().log_prob(z)
    assert_alike(found, total, 1e-9)
    networks = (prior, step)
    assert_alike(gradients(found.sum(), *networks), gradients(total.sum(), *networks), 1e-8)


def test_a_draw_is_scored_as_the_same_noise_given() -> None:
    prior, step, h_1 = parts()
    path = ResidualPath(prior, step, h_1, N)
    noise = path.noise().expand((7, B))
    z = noise.rsample()
    states = path.states(z)[0]
    assert z.shape == (7, B, N, L) and states.shape == (7, B, N + 1, Y)
    other = ResidualPath(prior, step, h_1, N)
    copied = z.clone()
    assert_alike(other.states(copied)[0], states, 1e-12)
    assert_alike(other.noise().log_prob(copied), noise.log_prob(z), 1e-12)


def test_a_path_may_have_no_noise_at_all() -> None:
    prior, step, h_1 = parts()
    path = ResidualPath(prior, step, h_1, 0)
    z = path.noise().expand((B,)).rsample()
    states, residuals = path.states(z)
    assert z.shape == (B, 0, L) and torch.equal(states, h_1[:, None])
    assert residuals.shape == (B, 0, Y)
    assert torch.equal(path.noise().expand((B,)).log_prob(z), torch.zeros(B).double())


def test_padding_adds_nothing() -> None:
    prior, step, h_1 = parts()
    mask = torch.arange(N) < torch.tensor([5, 2, 0])[:, None]
    z = torch.randn(B, N, L).double()
    full, cut = (ResidualPath(prior, step, h_1, N, m).noise() for m in (None, mask))
    frames = full.score_frames(z)
    assert_alike(cut.log_prob(z), (frames * mask).sum(-1), 1e-12)


def test_many_small_steps_converge() -> None:
    """The step's equation is dh/dt = f(h, z): Euler's error falls as 1 / n."""
    prior, step, h = parts()
    projected = step.project(torch.randn(B, L).double())
    ends = []
    for n in (8, 16, 32, 1024):
        step.num_steps = n
        ends.append(step(h, projected)[0])
    errors = [(end - ends[-1]).norm().item() for end in ends[:-1]]
    for coarse, fine in zip(errors, errors[1:], strict=False):
        assert 1.5 < coarse / fine < 2.5


def test_weights_start_orthogonal_and_scales_above_a_floor() -> None:
    step = ResidualStep(4, 2, (8,), gain=0.7, last_gain=0.2).double()
    weight, last = step.of_state.weight, step.rest[1][0].weight
    assert_alike(weight.T @ weight, 0.49 * torch.eye(4).double(), 1e-6)
    assert_alike(last @ last.T, 0.04 * torch.eye(4).double(), 1e-6)
    scale = SoftplusNormal(1, 2).double()
    with torch.no_grad():
        scale(torch.zeros(1).double())
        for parameter in scale.parameters():
            parameter.fill_(-1e3)
    assert scale.moments(torch.ones(1).double())[1].item() == pytest.approx(SoftplusNormal.FLOOR)


@pytest.mark.parametrize("seed", range(5))
def test_with_a_small_last_gain_states_do_not_run_away_at_first(seed: int) -> None:
    """By the paper's, the default, they grow thirty times and more in fourteen frames."""
    torch.manual_seed(seed)
    prior = SoftplusNormal(20, 128, 128, 40, activation=torch.nn.ReLU)
    h, farthest = torch.randn(50, 20), []
    for gains in ({"last_gain": 0.141}, {}):
        path = ResidualPath(prior, ResidualStep(20, 20, (128, 128), **gains), h, 14)
        noise = path.noise().expand((50,)).rsample()
        farthest.append(path.states(noise)[0].abs().max() / h.abs().max())
    assert farthest[0] < 3 < 30 < farthest[1]
