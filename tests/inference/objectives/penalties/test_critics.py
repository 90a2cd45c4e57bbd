"""Critics: what they learn of Gaussians, whom they move, and that they go on where they were."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from inference.objectives.penalties import AdversarialPrior, FactorCritic, WassersteinCritic
from inference.objectives.penalties.critics import Critic, permuted
from ppl_models.errors import InputError
from tests.inference.objectives.penalties.views import affine, gradients, view

KINDS = (FactorCritic, AdversarialPrior, WassersteinCritic)
every = pytest.mark.parametrize("kind", KINDS)


def taught(critic: Critic, pair: tuple[nn.Module, nn.Module], steps: int, dim: int) -> float:
    """Let a critic learn; return its estimate on a thousand data."""
    for _ in range(steps):
        with torch.no_grad():
            trace = view(*pair, torch.randn(512, dim))
        critic.learn(trace)
    with torch.no_grad():
        return critic(view(*pair, torch.randn(4000, dim))).item()


def test_a_density_ratio_sees_the_total_correlation() -> None:
    """Within 15 % of the Gaussian truth, 0.504 nat."""
    critic = FactorCritic(1.0, hidden_dims=(128,), learning_rate=1e-2)
    covariance = affine()[1].weight @ affine()[1].weight.T + 0.25 * torch.eye(3)
    truth = 0.5 * (covariance.diag().log().sum() - covariance.logdet()).item()
    assert taught(critic, affine(), 250, 3) == pytest.approx(truth, rel=0.15)


@pytest.mark.parametrize("shift", [-2.0, 2.0])
def test_a_transport_critic_sees_the_distance(shift: float) -> None:
    """|shift| in one dim, whichever way T leant at first, and up to 1 + |shift| / 20 of it."""
    critic = WassersteinCritic(1.0, (32, 32), critic_steps=2, learning_rate=5e-3)
    assert taught(critic, affine(dim=1, shift=shift), 60, 1) == pytest.approx(2.0, rel=0.15)


def test_a_critic_of_equal_distributions_cannot_separate_them() -> None:
    critic = AdversarialPrior(1.0, hidden_dims=(32, 32))
    assert taught(critic, affine(dim=2), 100, 2) == pytest.approx(math.log(2), abs=0.05)


def test_a_critic_of_shifted_codes_can_separate_them() -> None:
    critic = AdversarialPrior(1.0, hidden_dims=(32, 32))
    assert taught(critic, affine(dim=2, shift=2.0), 100, 2) > 1.5


@pytest.mark.parametrize("kind", [AdversarialPrior, WassersteinCritic])
def test_together_codes_come_to_the_prior(kind: Any) -> None:
    """A game of two: codes 2 away from the prior come to within 0.5 in 60 steps."""
    penalty, (model, guide) = kind(1.0, (32, 32), learning_rate=5e-3), affine(dim=2, shift=2.0)
    optimizer = torch.optim.Adam([guide.shift], 0.05, betas=(0.5, 0.9))
    for _ in range(60):
        trace = view(model, guide, torch.randn(64, 2))
        optimizer.zero_grad()
        penalty(trace).backward()
        optimizer.step()
        penalty.learn(trace)
    assert guide.shift.abs().max() < 0.5


@every
def test_the_guide_is_moved_and_the_critic_is_not(kind: Any) -> None:
    penalty, (model, guide) = kind(1.0), affine(shift=1.0)
    trace = view(model, guide, torch.randn(30, 3))
    value = penalty(trace)
    assert list(penalty.parameters())
    assert any(gradients(value, guide))
    assert not any(gradients(value, penalty))
    before = [p.detach().clone() for p in (*model.parameters(), *guide.parameters())]
    penalty.learn(trace)
    after = [*model.parameters(), *guide.parameters()]
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, after, strict=True))


@every
def test_learning_goes_on_exactly_where_it_was(kind: Any, tmp_path: Any) -> None:
    views = [view(*affine(), torch.randn(20, 3)) for _ in range(6)]

    def learn(penalty: Critic, part: slice) -> None:
        for step in range(6)[part]:
            torch.manual_seed(step)
            penalty.learn(views[step])

    whole, first, second = kind(1.0), kind(1.0), kind(1.0)
    learn(whole, slice(6))
    learn(first, slice(3))
    torch.save(first.state_dict(), tmp_path / "state")
    second.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    learn(second, slice(3, 6))
    for name, value in whole.state_dict().items():
        if torch.is_tensor(value):
            assert torch.equal(value, second.state_dict()[name])
    blank = kind(1.0)
    second.load_state_dict(blank.state_dict())  # back to the state of one that has seen nothing
    assert not list(second.parameters())


@every
def test_its_optimiser_follows_a_network_that_was_moved(kind: Any) -> None:
    """As Lightning does, which moves modules and no critic's optimiser: its state goes along."""
    still, moved = kind(1.0, (8,)), kind(1.0, (8,))
    for step in range(4):
        trace = view(*affine(), torch.randn(20, 3))
        for penalty in (still, moved):
            torch.manual_seed(step)
            penalty.learn(trace)
        moved._device = torch.device("meta")  # where it was before somebody moved the network here
    for name, parameter in still.named_parameters():
        assert torch.equal(parameter, moved.get_parameter(name))


@every
def test_it_is_built_from_its_own_seed(kind: Any, untouched: None) -> None:
    z = torch.zeros(3, 3).uniform_(generator=torch.Generator().manual_seed(1))
    one, two, other = kind(1.0).score(z), kind(1.0).score(z), kind(1.0, seed=1).score(z)
    assert torch.equal(one, two) and not torch.equal(one, other)


@every
def test_a_copy_learns_by_itself(kind: Any) -> None:
    penalty, trace = kind(1.0), view(*affine(), torch.randn(20, 3))
    penalty.learn(trace)
    before = [p.detach().clone() for p in penalty.parameters()]
    copied = copy.deepcopy(penalty)
    copied.learn(trace)
    assert all(torch.equal(a, b) for a, b in zip(before, penalty.parameters(), strict=True))
    assert not torch.equal(before[0], next(copied.parameters()))


@every
def test_precision_and_grad_mode_are_the_datas(kind: Any) -> None:
    penalty, pair = kind(1.0), tuple(part.double() for part in affine())
    trace = view(*pair, torch.randn(9, 3).double())
    with torch.no_grad():
        penalty.learn(trace)
    assert next(penalty.parameters()).dtype == torch.float64
    again = kind(1.0)
    again.load_state_dict(penalty.state_dict())
    assert torch.equal(again.score(trace.q["z"]["value"]), penalty.score(trace.q["z"]["value"]))


def test_permuted_codes_keep_their_dims_numbers() -> None:
    z = torch.randn(500, 2)[:, [0, 0]]
    other = permuted(z)
    assert torch.equal(other.sort(0).values, z.sort(0).values)
    assert abs(torch.corrcoef(other.T)[0, 1]) < 0.2


@every
@pytest.mark.parametrize("setting", [{"hidden_dims": (8, 0)}, {"learning_rate": 0.0}])
def test_settings_are_looked_at(kind: Any, setting: dict[str, Any]) -> None:
    with pytest.raises(InputError) as found:
        kind(1.0, **setting)
    assert found.value.argument in setting


def test_a_transport_critic_meets_fresh_codes_at_every_lap() -> None:
    met: list[torch.Tensor] = []

    class Watched(WassersteinCritic):
        def loss(self, net: nn.Module, *rest: Any) -> torch.Tensor:
            seen: list[torch.Tensor] = []
            hook = net.register_forward_pre_hook(lambda _, x: seen.append(x[0].detach().clone()))
            value = super().loss(net, *rest)
            hook.remove()
            met.append(torch.cat([x.flatten() for x in seen[1:]]))  # after the points between
            return value

    critic, pair = Watched(1.0, (8,), critic_steps=4), affine(dim=2)
    with torch.no_grad():
        critic(trace := view(*pair, torch.randn(16, 2)))
    critic.learn(trace)
    assert len(met) == 4
    halves = [tuple(laps.chunk(2)) for laps in met]  # draws of the prior, and codes
    for side in range(2):
        for i in range(4):
            for j in range(i):
                assert not torch.equal(halves[i][side], halves[j][side])
