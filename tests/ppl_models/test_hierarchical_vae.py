from __future__ import annotations

import copy

import pytest
import torch
from pyro import poutine
from pyro.infer import TraceMeanField_ELBO
from sklearn.datasets import load_digits
from torch import nn

from guides.hierarchical_vae import HierarchicalVAEGuide
from guides.vae import VAEGuide
from inference import Objective, check, fit, rates
from inference.randomness import seeded
from inference.schedules import linear
from ppl_models.errors import InputError
from ppl_models.hierarchical_vae import HierarchicalVAE
from ppl_models.likelihoods.discrete import Categorical
from ppl_models.networks.mlp import MLP
from ppl_models.vae import VAE


def pair(*sizes: int, **settings: object) -> tuple[HierarchicalVAE, HierarchicalVAEGuide]:
    model = HierarchicalVAE(6, sizes, hidden_dim=8, **settings)
    return model, HierarchicalVAEGuide(model)


def bound(model: nn.Module, guide: nn.Module, x: torch.Tensor) -> float:
    torch.manual_seed(3)
    return TraceMeanField_ELBO().loss(model, guide, x)


def test_sites_shapes_and_plate() -> None:
    model, guide = pair(2, 3, 4)
    for trace in (poutine.trace(model).get_trace(size=5), poutine.trace(guide).get_trace(x(5))):
        for n, size in enumerate((2, 3, 4)):
            site = trace.nodes[f"z{n}"]
            assert site["value"].shape == (5, size)
            assert site["cond_indep_stack"][0].name == "data"


def x(size: int = 7) -> torch.Tensor:
    return (torch.rand(size, 6) < 0.5).float()


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", Categorical(6, 2)])
def test_the_pair_passes_check(likelihood: object) -> None:
    report = check(*pair(2, 3, 4, likelihood=likelihood), x())
    assert {row.name for row in report.sites} >= {"z0", "z1", "z2", "x"}


def test_one_level_is_a_vae() -> None:
    model, guide = pair(3, likelihood="bernoulli")
    decoder = nn.Sequential(model.write[0], model.block[0], model.decoder)
    encoder = nn.Sequential(guide.first, guide.up[0], guide.head[0])
    flat = VAE(6, 3, likelihood="bernoulli", decoder=decoder)
    data, same = x(), VAEGuide(flat, encoder=encoder)
    assert bound(model, guide, data) == pytest.approx(bound(flat, same, data), rel=1e-6)


def test_the_bound_is_the_sum_of_levels_by_hand() -> None:
    model, guide = pair(2, 3)
    data = x()
    torch.manual_seed(3)
    total, rung = 0.0, None
    for n, feature in enumerate(guide.features(data)):
        q, p = guide.posterior(n, feature, rung), model.prior(rung)
        z = q.rsample()
        if n == 0:
            p = p.expand(q.batch_shape)
        total = total + torch.distributions.kl_divergence(q, p).sum()
        rung = model.descend(n, rung, z)
    total = total - model.observation(rung).log_prob(data).sum()
    assert bound(model, guide, data) == pytest.approx(total.item(), rel=1e-5)


def test_what_the_guide_leaves_changes_no_value_and_no_gradient() -> None:
    model, guide = pair(2, 3, 4)
    data, found = x(), []
    for forget in (False, True):
        torch.manual_seed(1)
        guided = poutine.trace(guide).get_trace(data)
        assert set(model._left) == {0, 1}
        if forget:
            model._left.clear()
        trace = poutine.trace(poutine.replay(model, guided)).get_trace(data)
        assert not model._left
        loss = guided.log_prob_sum() - trace.log_prob_sum()
        parameters = [*model.parameters(), *guide.parameters()]
        found.append([loss, *torch.autograd.grad(loss, parameters)])
    for kept, walked in zip(*found, strict=True):
        assert torch.allclose(kept, walked, atol=1e-6)


def test_what_was_left_before_a_step_is_not_used_after_it() -> None:
    model, guide = pair(2, 3)
    guided = poutine.trace(guide).get_trace(x())
    with torch.no_grad():
        model.write[0].weight.add_(1.0)
    trace = poutine.trace(poutine.replay(model, guided)).get_trace(x())
    fresh = model.descend(0, None, guided.nodes["z0"]["value"])
    assert torch.equal(trace.nodes["z1"]["fn"].base_dist.loc, fresh.loc)


def test_a_pair_that_left_something_can_be_copied() -> None:
    model, guide = pair(2, 3)
    guide(x())
    assert model._left
    model_copy, guide_copy = copy.deepcopy((model, guide))
    assert not model_copy._left and guide_copy.model is model_copy


def test_outer_plates_go_through() -> None:
    model, guide = pair(2, 3)
    import pyro

    with pyro.plate("draws", 4, dim=-2):
        guided = poutine.trace(guide).get_trace(x(5))
        trace = poutine.trace(poutine.replay(model, guided)).get_trace(x(5))
    trace.compute_log_prob()
    assert trace.nodes["z1"]["log_prob"].shape == (4, 5)


@pytest.mark.parametrize("sizes", [(), 3, (2, 0)])
def test_levels_without_a_code_are_an_error(sizes: object) -> None:
    with pytest.raises(InputError, match="latent_dims"):
        HierarchicalVAE(6, sizes)


@pytest.mark.slow
def test_two_levels_beat_one_of_the_same_width_on_digits() -> None:
    with seeded(0):
        bits = torch.tensor(load_digits().data > 8).float()[torch.randperm(1797)]
    train, held_out = bits[:1500], bits[1500:]
    with seeded(1):
        model = HierarchicalVAE(64, (4, 8), hidden_dim=64, likelihood="bernoulli")
        decoder = MLP(12, 64, 64, 64, activation=nn.GELU)
        encoder = MLP(64, 64, 64, 24, activation=nn.GELU)
        flat = VAE(64, 12, likelihood="bernoulli", decoder=decoder)
        pairs = (model, HierarchicalVAEGuide(model)), (flat, VAEGuide(flat, encoder=encoder))
    bounds = []
    for pair in pairs:
        run = fit(
            *pair,
            train,
            validation=held_out,
            epochs=40,
            batch_size=100,
            learning_rate=3e-3,
            objective=Objective("meanfield", kl_weight=linear(375, start=0.05)),
            progress=False,
        )
        bounds.append(run.best_bound)
    assert bounds[0] > bounds[1] + 0.3  # nats a digit; a standard error of the difference is 0.1
    found = rates(*pairs[0], held_out, num_samples=20)
    assert all(found[f"z{n}"].nats > 0.05 for n in (0, 1))
