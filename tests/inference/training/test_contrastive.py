from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from inference.errors import NonFiniteError
from inference.schedules import cosine
from inference.training.contrastive import contrastive_loss, fit_energy
from ppl_models.rbm import RBM


class Well(nn.Module):
    """An energy of another make: F(x) = |x - centre|^2 / 2, that of N(centre, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(2))

    def free_energy(self, x: Tensor) -> Tensor:
        return 0.5 * (x - self.centre).square().sum(-1)

    def transition(self, x: Tensor) -> Tensor:
        return self.centre + 0.5 * (x - self.centre) + 0.75**0.5 * torch.randn_like(x)


def test_with_draws_of_the_model_the_gradient_is_that_of_the_likelihood() -> None:
    model = RBM(4, 3).double()
    with torch.no_grad():
        model.weight.mul_(8)
    x = (torch.rand(50, 4) < 0.3).double()
    exact = torch.autograd.grad(-model.density().log_prob(x).mean(), list(model.parameters()))
    chains = model(size=50_000)
    found = torch.autograd.grad(contrastive_loss(model, x, chains), list(model.parameters()))
    for a, b in zip(exact, found, strict=True):
        assert (a - b).abs().max() < 4 * 0.5 / 50_000**0.5  # four standard errors of a share


@pytest.mark.parametrize("persistent", [True, False])
def test_any_energy_is_trained(persistent: bool, untouched: None) -> None:
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(1)) + torch.tensor([2.0, -1.0])
    model = Well()
    run = fit_energy(model, x, epochs=25, learning_rate=0.05, persistent=persistent)
    assert (model.centre - x.mean(0)).abs().max() < 0.2
    assert len(run.history) == 25 and run.chains.shape == (100, 2)


def test_a_seed_decides_all() -> None:
    x = (torch.rand(60, 4) < 0.3).float()
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(0)
        models.append(RBM(4, 3))
        fit_energy(models[-1], x, epochs=2, seed=seed)
    assert torch.equal(models[0].weight, models[1].weight)
    assert not torch.equal(models[0].weight, models[2].weight)


def test_persistent_chains_learn_a_likelihood_near_the_best() -> None:
    truth = RBM(6, 2)
    with torch.no_grad():
        truth.weight.copy_(4.0 * torch.tensor([[1, 1, 1, -1, -1, -1], [1, -1, 1, -1, 1, -1]]).T)
        truth.bias.copy_(-truth.weight.sum(1) / 2)
    x = truth(size=1000)
    model = RBM(6, 3)
    independent = x.mean(0).clamp(0.01, 0.99)
    base = torch.distributions.Bernoulli(independent).log_prob(x).sum(-1).mean()
    fit_energy(model, x, epochs=60, learning_rate=cosine(600, start=0.05))
    found, best = (m.density().log_prob(x).mean().item() for m in (model, truth))
    assert base < best - 0.5
    assert found > best - 0.1  # nats a datum


def test_an_energy_without_a_minimum_is_an_error() -> None:
    model = Well()
    model.centre.data.fill_(torch.nan)
    with pytest.raises(NonFiniteError, match="learning_rate"):
        fit_energy(model, torch.zeros(10, 2), epochs=1)


@pytest.mark.parametrize("persistent", [True, False])
def test_chains_go_on_or_begin_at_the_data_as_asked(persistent: bool) -> None:
    begun: list[Tensor] = []

    class Watched(Well):
        def transition(self, x: Tensor) -> Tensor:
            begun.append(x.clone())
            return super().transition(x)

    x = torch.arange(20.0).reshape(10, 2)
    run = fit_energy(Watched(), x, epochs=2, batch_size=5, chains=7, persistent=persistent)
    known = {tuple(row.tolist()) for row in x}
    at_data = [all(tuple(row.tolist()) in known for row in start) for start in begun]
    assert at_data == ([True, False, False, False] if persistent else [True] * 4)
    assert [len(start) for start in begun] == [7 if persistent else 5] * 4
    assert len(run.chains) == len(begun[-1])
