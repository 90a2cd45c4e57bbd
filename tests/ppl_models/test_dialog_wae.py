"""DialogWAE: what its prior draws, what refuses it, and that modes are found by transport."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from guides.dialog_wae import DialogWAEGuide
from inference import check, fit, importance, posterior, rates
from inference.objectives import ContextCritic, Objective, TransportObjective
from ppl_models.dialog_wae import DialogWAE
from ppl_models.errors import InputError


def test_the_prior_is_a_generator_of_a_mixture_that_the_context_decides() -> None:
    model = DialogWAE(3, 2, 2, components=2).double()
    raw = torch.tensor([0.0, -3.0, -3.0, -2.0, -2.0, 1.1, 3.0, 3.0, -2.0, -2.0]).double()
    model.prior_noise = Table(raw)
    model.generator = nn.Identity()
    c = torch.ones(2, 2).double()
    logits, loc, scale = model.modes(c)
    assert logits.shape == (2, 2) and loc.shape == scale.shape == (2, 2, 2)
    z = model.prior(c).rsample(torch.Size([20_000]))
    assert z.shape == (20_000, 2, 2)
    share = (z[..., 0] > 0).double().mean(0)
    # sigmoid(1.1) = 0.75, known to 0.003; draws between modes are few at this temperature
    assert (share - 0.75).abs().max() < 0.015
    near = z[..., 0][z[..., 0] > 2.5]
    assert float(near.mean()) == pytest.approx(3.0, abs=0.05)
    assert float(near.std()) == pytest.approx(0.135, rel=0.25)


class Table(nn.Module):
    def __init__(self, raw: Tensor) -> None:
        super().__init__()
        self.raw = raw

    def forward(self, c: Tensor) -> Tensor:
        return self.raw.expand(*c.shape[:-1], -1)


@pytest.mark.parametrize("asked", [check, importance, rates])
def test_whatever_needs_a_density_refuses_the_pair_in_the_same_words(asked: Any) -> None:
    model = DialogWAE(3, 2, 2)
    c = torch.randn(5, 2)
    # Pyro's own trace makes a ValueError of an InputError, which is one, and keeps its words
    with pytest.raises(ValueError, match="an implicit distribution"):
        asked(model, DialogWAEGuide(model), model(None, c).detach(), c)
    with pytest.raises(ValueError, match="TransportObjective"):
        Objective().loss(model, DialogWAEGuide(model), (model(None, c).detach(), c))


def test_draws_of_the_posterior_and_predictions_are_exported() -> None:
    model = DialogWAE(3, 2, 2)
    c = torch.randn(5, 2)
    idata = posterior(model, DialogWAEGuide(model), model(None, c).detach(), c, num_samples=4)
    assert idata.posterior["z"].shape == (1, 4, 5, 2)
    assert idata.posterior_predictive["x"].shape == (1, 4, 5, 3)


def test_every_parameter_learns_the_prior_from_the_critic_alone() -> None:
    model = DialogWAE(3, 2, 2)
    guide, c = DialogWAEGuide(model), torch.randn(8, 2)
    x = model(None, c).detach()
    objective = TransportObjective(ContextCritic(1.0, hidden_dims=(8,)))
    result = objective.measure(model, guide, (x, c))
    result.loss.backward()
    for name, parameter in (*model.named_parameters(), *guide.named_parameters()):
        assert parameter.grad is not None and parameter.grad.any(), name


@pytest.mark.parametrize("wrong", [{"components": 0}, {"noise_dim": 0}, {"temperature": 0.0}])
def test_settings_are_checked(wrong: Any) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        DialogWAE(**wrong)


@pytest.mark.slow
def test_answers_of_two_kinds_are_made_in_every_context() -> None:
    """x = c + 2 or c - 2, noise 0.1: one Gaussian answer a context would lie between."""
    draw = torch.Generator().manual_seed(0)
    c = torch.randn(2000, 1, generator=draw)
    side = 2.0 * torch.randint(2, (2000, 1), generator=draw) - 1
    x = c + 2 * side + 0.1 * torch.randn(2000, 1, generator=draw)
    torch.manual_seed(0)
    model = DialogWAE(1, 1, 1, components=2, hidden_dims=(32, 32), scale=0.1)
    guide = DialogWAEGuide(model)
    objective = TransportObjective(ContextCritic(1.0, hidden_dims=(32, 32)))
    how = {"epochs": 25, "batch_size": 100, "learning_rate": 1e-3, "progress": False}
    fit(model, guide, (x, c), objective=objective, seed=0, **how)
    rest = (model(None, c) - c).detach()
    assert 0.35 < float((rest > 0).double().mean()) < 0.65
    assert float((rest.abs() - 2).abs().median()) < 0.2  # of the truth 0.067
    assert float(((rest.abs() - 2).abs() > 1).double().mean()) < 0.1
    for low, high in ((-9.0, -0.5), (0.5, 9.0)):  # in contexts at both ends
        some = rest[(c > low) & (c < high)]
        assert 0.25 < float((some > 0).double().mean()) < 0.75


def test_an_answer_has_the_distribution_that_was_asked_for() -> None:
    model = DialogWAE(3, 2, 2, likelihood="bernoulli")
    z, c = torch.randn(5, 2), torch.randn(5, 2)
    x = torch.bernoulli(torch.full((5, 3), 0.5))
    chance = model.decoder(torch.cat([z, c], -1)).sigmoid()
    expected = (x * chance + (1 - x) * (1 - chance)).log().sum(-1)
    assert torch.allclose(model.observation(z, c).log_prob(x), expected, atol=1e-5)
    assert set(model(None, c).unique().tolist()) <= {0.0, 1.0}
