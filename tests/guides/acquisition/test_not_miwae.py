from __future__ import annotations

import pyro
import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor

from guides.acquisition import NotMIWAEGuide, PartialVAEGuide
from inference import check
from inference.objectives import Objective
from ppl_models.acquisition import NotMIWAE, PartialVAE
from ppl_models.errors import InputError
from ppl_models.likelihoods import Column, Columns

TABLE = (Column("age"), Column("sex", "binary"), Column("crp", "positive"))


def mixed(missing: str = "self") -> NotMIWAE:
    return NotMIWAE(3, 2, likelihood=Columns(TABLE), missing=missing, not_at_random=["age", "crp"])


@pytest.mark.parametrize("missing", ["self", "linear", "known sign"])
def test_it_is_a_pair_whatever_the_mechanism(missing: str) -> None:
    model = mixed(missing)
    guide = NotMIWAEGuide(model, reader="zeros", set_dim=8, hidden_dims=(), embedding_dim=3)
    x = model(size=30).detach()
    check(model.start_from(x, ~x.isnan()), guide, x, ~x.isnan())
    check(model, guide, x.nan_to_num(nan=1.0))
    z, drawn = guide(x, ~x.isnan())
    assert z.shape == (30, 2) and drawn.shape == (30, 2)


def test_missing_values_are_drawn_as_the_model_draws_them_so_that_they_cancel() -> None:
    model = mixed()
    guide, x = NotMIWAEGuide(model), model(size=20).detach()
    guided = poutine.trace(guide).get_trace(x, ~x.isnan())
    scored = poutine.trace(poutine.replay(model, guided)).get_trace(x, ~x.isnan())
    guided.compute_log_prob()
    scored.compute_log_prob()
    first, second = (t.nodes["x_missing"]["log_prob"] for t in (guided, scored))
    assert torch.equal(first, second) and first.abs().sum() > 0


def test_hidden_values_reach_neither_bound_nor_gradient() -> None:
    model = mixed()
    guide, x = NotMIWAEGuide(model), model(size=20).detach()
    mask = ~x.isnan()
    found = []
    for hidden in (torch.nan, 5.0):
        torch.manual_seed(3)
        loss = Trace_ELBO().differentiable_loss(model, guide, torch.where(mask, x, hidden), mask)
        both = [*model.parameters(), *guide.parameters()]
        found.append([loss, *torch.autograd.grad(loss, both)])
    assert all(torch.equal(a, b) and a.isfinite().all() for a, b in zip(*found, strict=True))


def learn(model: PartialVAE, x: Tensor, mask: Tensor, steps: int, draws: int = 1) -> PartialVAE:
    """Fit a pair of the model by its bound of one draw a row, or of several."""
    model.start_from(x, mask)
    sizes = {"set_dim": 16, "hidden_dims": (16,)}
    if isinstance(model, NotMIWAE):
        guide = NotMIWAEGuide(model, proposal="learned", **sizes)
    else:
        guide = PartialVAEGuide(model, **sizes)
    optimizer = torch.optim.Adam([*model.parameters(), *guide.parameters()], 3e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-2, total_steps=steps)
    objective = Objective() if draws == 1 else Objective("iwae", num_particles=draws)
    with pyro.validation_enabled(False):
        for _ in range(steps):
            rows = torch.randint(len(x), (256,))
            optimizer.zero_grad()
            objective.loss(model, guide, (x[rows], mask[rows])).backward()
            optimizer.step()
            schedule.step()
    return model


def mean_of(model: PartialVAE, column: int = 0) -> float:
    """The mean of a column in rows that the model simulates whole."""
    with torch.no_grad():
        z = torch.randn(5000, model.latent_dim)
        return model.likelihood.moments(model.raw(z))[0][:, column].mean().item()


def related(size: int) -> Tensor:
    """Columns of mean 10 and standard deviation 2 that share one factor."""
    z = torch.randn(size, 1)
    return 10 + 2 * (0.7 * z + 0.51**0.5 * torch.randn(size, 3))


@pytest.mark.slow
def test_ignoring_that_large_values_go_missing_biases_their_mean() -> None:
    x = related(4000)
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[:, 0] = torch.sigmoid(0.5 - 1.5 * (x[:, 0] - 10)) > torch.rand(len(x))
    x = torch.where(mask, x, torch.nan)
    assert x[:, 0].nanmean() < 8.9
    ignorant = learn(PartialVAE(3, 1, hidden_dims=()), x, mask, 200)
    settings = {"missing": "known sign", "not_at_random": ["x1"], "hidden_dims": ()}
    aware = learn(NotMIWAE(3, 1, **settings), x, mask, 600, draws=5)
    # of a standard deviation of 2; what the others say of the column mends little of the bias
    assert mean_of(ignorant) < 9.3
    assert abs(mean_of(aware) - 10) < 0.4


def test_a_censored_column_finds_the_mean_that_recorded_values_lack() -> None:
    x = related(4000)
    x[:, 0] = x[:, 0].clamp(max=10.5)  # what a device that ends there records
    whole = torch.ones_like(x, dtype=torch.bool)
    columns = Columns([Column("x1", "censored", upper=10.5), Column("x2"), Column("x3")])
    real = learn(PartialVAE(3, 1, hidden_dims=()), x, whole, 150)
    censored = learn(PartialVAE(3, 1, hidden_dims=(), likelihood=columns), x, whole, 300)
    assert abs(mean_of(censored) - x[:, 0].mean()) < 0.2  # of what is recorded
    with torch.no_grad():
        raw = censored.raw(torch.randn(5000, 1))
        uncensored = censored.likelihood.parts(raw, ("censored",))[0].loc.mean()
    assert abs(uncensored - 10) < 0.25 and mean_of(real) < 9.6


def test_a_learned_proposal_starts_as_the_models_and_changes_no_posterior() -> None:
    model = mixed()
    guide, x = NotMIWAEGuide(model, proposal="learned"), model(size=20).detach()
    check(model, guide, x, ~x.isnan())
    z = torch.randn(20, 2)
    assert guide.tilt is not None and guide.tilt(z).abs().max() == 0
    with pytest.raises(InputError, match="did you mean learned"):
        NotMIWAEGuide(model, proposal="learn")
