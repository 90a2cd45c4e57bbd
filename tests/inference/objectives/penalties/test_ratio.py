"""The critic of a density-ratio prior: what it learns, when the prior takes it over, resuming."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from guides.vae import VAEGuide
from inference import fit
from inference.errors import PairError
from inference.objectives.objective import Objective
from inference.objectives.penalties import DensityRatio
from ppl_models.distributions.normal_mixture import DiagonalMixture
from ppl_models.errors import InputError
from ppl_models.networks.mlp import MLP
from ppl_models.priors.density import AggregatedPosterior
from ppl_models.vae import VAE


def view(prior: nn.Module, z: Tensor) -> Any:
    """What a penalty sees of a pair whose codes are z."""
    site = {"fn": dist.Normal(z, 1.0).to_event(1), "value": z, "mask": None}
    return SimpleNamespace(model=nn.ModuleDict({"prior": prior}), q={"z": site}, batch=len(z))


@pytest.mark.parametrize("dim", [1, 2])
def test_a_known_aggregated_posterior_is_learned(dim: int) -> None:
    loc = torch.tensor([[-1.2] * dim, [1.0] * dim])
    q = DiagonalMixture(loc, torch.full((2, dim), 0.5), torch.tensor([0.0, 0.7]))
    prior = AggregatedPosterior(dim, MLP(dim, 32, 32, 1))
    penalty = DensityRatio(prior.critic, every=150, learning_rate=5e-3)
    for _ in range(300):
        penalty.learn(view(prior, q.sample((512,))))
    z = q.sample((4000,))
    gap = q.log_prob(z) - prior.log_prob(z)  # its mean is KL(q || p), if p is normalised
    noise = gap.std().item() / 4000**0.5 + prior.log_z_error.item()
    assert -4 * noise < gap.mean() < 0.1
    assert gap.abs().median() < 0.3
    standard = dist.Normal(0.0, 1.0).log_prob(z).sum(-1)
    assert (q.log_prob(z) - standard).mean() > 0.2  # which the standard normal is off by


def test_the_prior_takes_the_critic_over_now_and_then() -> None:
    prior = AggregatedPosterior(2, MLP(2, 4, 1))
    penalty, z, seen = DensityRatio(prior.critic, every=3), torch.randn(8, 2) + 1, []
    for _ in range(6):
        penalty.learn(view(prior, z))
        seen.append(prior.log_prob(z).sum().item())
    assert seen[0] == seen[1] != seen[2] == seen[3] == seen[4] != seen[5]
    assert not any(p.requires_grad for p in prior.parameters())
    assert penalty(SimpleNamespace(**vars(view(prior, z)), step=0)) == 0


def pair() -> tuple[VAE, VAEGuide, Objective]:
    torch.manual_seed(0)
    prior = AggregatedPosterior(2, MLP(2, 8, 1), num_samples=500)
    model = VAE(5, 2, hidden_dims=(8,), likelihood="bernoulli", prior=prior)
    penalty = DensityRatio(prior.critic, every=2)
    return model, VAEGuide(model), Objective(penalties=(penalty,))


def test_a_resumed_run_is_the_uninterrupted_one(tmp_path) -> None:
    x = (torch.rand(40, 5) < 0.5).float()
    options: dict[str, Any] = {"batch_size": 16, "learning_rate": 1e-2, "progress": False}
    model, guide, objective = pair()
    first = model.prior.critic[0].weight.clone()
    fit(model, guide, x, epochs=3, objective=objective, **options)
    assert not torch.equal(first, model.prior.critic[0].weight)
    for epochs in (1, 3):
        again, other, objective = pair()
        options |= {"directory": tmp_path, "resume": epochs == 3}
        fit(again, other, x, epochs=epochs, objective=objective, **options)
    for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_model_without_such_a_prior_is_named() -> None:
    penalty = DensityRatio(MLP(2, 4, 1))
    with pytest.raises(PairError, match="'prior'"):
        penalty.learn(view(nn.Linear(1, 1), torch.randn(8, 2)))
    with pytest.raises(InputError, match="every"):
        DensityRatio(MLP(2, 4, 1), every=0)
