from __future__ import annotations

import pyro.poutine as poutine
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor

from guides.acquisition import NotMIWAEGuide, PartialVAEGuide
from inference import check
from inference.objectives.pathwise_elbo import pathwise_bound
from ppl_models.acquisition import NotMIWAE, PartialVAE
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


def learn(model: PartialVAE, x: Tensor, mask: Tensor | None, steps: int) -> PartialVAE:
    """Fit a pair of the model by its bound."""
    model.start_from(x, mask)
    kind = NotMIWAEGuide if isinstance(model, NotMIWAE) else PartialVAEGuide
    guide = kind(model, set_dim=16, hidden_dims=(16,))
    optimizer = torch.optim.Adam([*model.parameters(), *guide.parameters()], 1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(x), (256,))
        optimizer.zero_grad()
        given = (x[rows],) if mask is None else (x[rows], mask[rows])
        bound = pathwise_bound(model, guide, given, {}, closed_form=True)
        assert bound is not None
        (-bound / 256).backward()
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


def test_ignoring_that_large_values_go_missing_biases_their_mean_and_the_mechanism_does_not() -> (
    None
):
    x = related(4000)
    observed = torch.sigmoid(0.5 - 3 * (x[:, 0] - 10) / 2) > torch.rand(len(x))
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[:, 0] = observed
    x = torch.where(mask, x, torch.nan)
    ignorant = learn(PartialVAE(3, 1, hidden_dims=()), x, mask, 250)
    settings = {"missing": "known sign", "not_at_random": ["x1"], "hidden_dims": ()}
    aware = learn(NotMIWAE(3, 1, **settings), x, mask, 250)
    # standard deviation 2: the correlation of 0.5 with the others mends a part of the bias
    assert mean_of(ignorant) < 9.6
    assert abs(mean_of(aware) - 10) < 0.25


def test_a_censored_column_finds_the_mean_that_recorded_values_lack() -> None:
    x = related(4000)
    x[:, 0] = x[:, 0].clamp(max=10.5)  # what a device that ends there records
    columns = Columns([Column("x1", "censored", upper=10.5), Column("x2"), Column("x3")])
    real = learn(PartialVAE(3, 1, hidden_dims=()), x, None, 250)
    censored = learn(PartialVAE(3, 1, hidden_dims=(), likelihood=columns), x, None, 250)
    assert abs(mean_of(censored) - x[:, 0].mean()) < 0.15  # of what is recorded
    with torch.no_grad():
        raw = censored.raw(torch.randn(5000, 1))
        uncensored = censored.likelihood.parts(raw, ("censored",))[0].loc.mean()
    assert abs(uncensored - 10) < 0.15 and mean_of(real) < 9.6
