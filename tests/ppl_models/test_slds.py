"""The switching system against sums over all paths of regimes, each a dense Gaussian."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from guides.slds import SLDSGuide
from inference import Objective, check, fit
from ppl_models.errors import InputError
from ppl_models.lds import LDS
from ppl_models.slds import SLDS
from tests.dense import conditioned, hidden_and_observed

D, L, K, T, B = 3, 2, 3, 4, 5
ENDS = torch.tensor([T, 3, 1, 2, T])
CLOSE: Any = {"rtol": 0, "atol": 1e-8}


def build(form: Any = "enumerated") -> SLDS:
    """A model with no two numbers alike, in double precision."""
    model = SLDS(D, L, K, form=form).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def ragged(model: SLDS) -> tuple[Tensor, Tensor]:
    s, mask = model(size=B, length=T).detach(), torch.arange(T) < ENDS[:, None]
    s[~mask] = torch.nan
    return s, mask


def dense(model: SLDS, k: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of (z, s), both flat, given one path of regimes (T)."""
    params = model.dynamics(k)
    rest = [part.expand(len(k), *part.shape[1:]) for part in params[5:]]
    return hidden_and_observed(*params[:5], *rest)


def by_hand(model: SLDS, s: Tensor) -> tuple[Tensor, Tensor]:
    """All paths of regimes (K^n, n), and log p(s, k) (K^n) of one s (n, D)."""
    n = len(s)
    paths = torch.cartesian_prod(*[torch.arange(K)] * n).reshape(-1, n)
    initial, step = model.regime_logits.softmax(-1), model.switch_logits.softmax(-1)
    scores = initial[paths[:, 0]].log() + step[paths[:, :-1], paths[:, 1:]].log().sum(-1)
    for i, path in enumerate(paths):
        mean, cov = dense(model, path)
        distribution = MultivariateNormal(mean[n * L :], cov[n * L :, n * L :])
        scores = scores + torch.nn.functional.one_hot(
            torch.tensor(i), len(paths)
        ) * distribution.log_prob(s.flatten())
    return paths, scores


def test_evidence_and_bound_are_the_sum_over_all_paths() -> None:
    model = build()
    s, mask = ragged(model)
    expected = [by_hand(model, s[i, :n])[1].logsumexp(0) for i, n in enumerate(ENDS.tolist())]
    exact = model.log_evidence(s, mask)
    assert torch.allclose(exact, torch.stack(expected), **CLOSE)
    bound = -Objective().loss(model, SLDSGuide(model), (s, mask))
    assert torch.allclose(bound, exact.mean(), **CLOSE)
    names = list(model.parameters())
    pairs = (torch.autograd.grad(x, names) for x in (bound, exact.mean()))
    for ours, theirs in zip(*pairs, strict=True):
        assert ours.isfinite().all() and torch.allclose(ours, theirs, **CLOSE)


def test_states_given_regimes_are_dense_conditioning() -> None:
    model = build()
    s, mask = ragged(model)
    k, z = torch.randint(K, (B, T)), torch.randn(B, T, L).double()
    ours = model.states(s, k, mask).log_prob(z)
    for row, n in enumerate(ENDS.tolist()):
        distribution = MultivariateNormal(
            *conditioned(*dense(model, k[row, :n]), s[row, :n].flatten())
        )
        assert torch.allclose(ours[row], distribution.log_prob(z[row, :n].flatten()), **CLOSE)


def test_one_regime_is_the_linear_system() -> None:
    model, linear = SLDS(D, L, 1, form="sampled").double(), LDS(D, L).double()
    with torch.no_grad():
        for name, value in linear.named_parameters():
            own = getattr(model, name)
            own.normal_(0, 0.5)
            value.copy_(own.reshape(value.shape))
    s = linear(size=B, length=20).detach()
    mask = torch.arange(20) < torch.tensor([20, 5, 1, 7, 12])[:, None]
    exact = linear.log_evidence(s, mask)
    bound = -Objective().loss(model, SLDSGuide(model), (s, mask))
    assert torch.allclose(bound, exact.mean(), **CLOSE)
    assert torch.allclose(model.log_evidence(s, mask, num_particles=1), exact, **CLOSE)
    forecast, theirs = (
        model.forecast(s, mask, steps=2, num_particles=1),
        linear.forecast(s, mask, steps=2),
    )
    assert torch.allclose(forecast.mean, theirs.frames.mean, **CLOSE)
    variance = theirs.frames.covariance_matrix.diagonal(dim1=-2, dim2=-1)
    assert torch.allclose(forecast.variance, variance, **CLOSE)


def test_a_forecast_is_the_mixture_of_all_paths() -> None:
    model = build()
    s = model(size=1, length=2).detach()
    forecast = model.forecast(s, steps=2, num_particles=20_000)
    for row in range(len(s)):
        paths, before = by_hand(model, s[row])
        steps, total = model.switch_logits.log_softmax(-1), []
        for a in range(K):
            for b in range(K):
                longer = torch.cat([paths, torch.tensor([[a, b]]).expand(len(paths), 2)], 1)
                weight = before.softmax(0) * (steps[paths[:, -1], a] + steps[a, b]).exp()
                means = []
                for path in longer:
                    mean, cov = dense(model, path)
                    keep = torch.cat([torch.arange(4 * L), 4 * L + torch.arange(2 * D)])
                    z = conditioned(mean[keep], cov[keep][:, keep], s[row].flatten())[0]
                    means.append(z[-L:] @ model.emission.mT + model.emission_offset)
                total.append(weight @ torch.stack(means))
        spread = forecast.stddev[row, 1] / math.sqrt(20_000)
        assert ((forecast.mean[row, 1] - sum(total)).abs() < 5 * spread).all()  # 5 standard errors


@pytest.mark.parametrize("form", ["sampled", "enumerated"])
def test_a_ragged_batch_is_its_paths_one_by_one(form: Any) -> None:
    model = build(form)
    s, mask = ragged(model)
    ends = list(enumerate(ENDS.tolist()))
    alone = torch.cat([model.log_evidence(s[i : i + 1, :n]) for i, n in ends])
    assert torch.allclose(model.log_evidence(s, mask), alone, **CLOSE)
    guide = SLDSGuide(model)
    smoothed = guide.smooth(s, mask)
    for i, n in ends:
        assert torch.allclose(guide.smooth(s[i : i + 1, :n])[0], smoothed[i, :n], **CLOSE)
    loss = Objective().loss(model, guide, (s, mask))
    assert all(g.isfinite().all() for g in torch.autograd.grad(loss, list(model.parameters())))


@pytest.mark.parametrize("form", ["sampled", "enumerated"])
def test_the_pair_passes_check(form: Any) -> None:
    model = SLDS(D, L, 2, form=form)
    s = model(size=B, length=T).detach()
    assert check(model, SLDSGuide(model), s).sites
    assert check(model, SLDSGuide(model), s, torch.arange(T) < ENDS[:, None]).sites
    single = model(size=B, length=1).detach()
    exact = model.log_evidence(single).mean()
    assert torch.allclose(-Objective().loss(model, SLDSGuide(model), (single,)), exact)


def test_simulated_paths_switch() -> None:
    """Two regimes, still and noisy: both forms simulate the same, whatever inference sums."""
    forms: tuple[Any, ...] = "sampled", "enumerated"
    for form in forms:
        model = SLDS(1, 1, 2, form=form)
        with torch.no_grad():
            model.transition.fill_(1.0)
            model.process_log_scale.copy_(torch.tensor([[-5.0], [1.0]]))
            model.noise_log_scale.fill_(-6.0)
            model.emission.fill_(1.0)
        steps = model(size=500, length=40).detach().diff(dim=1).abs()
        assert abs((steps > 0.05).float().mean().item() - 0.5) < 0.05  # 3 standard errors


@pytest.mark.slow
def test_it_learns_the_regimes_it_simulated() -> None:
    truth = SLDS(2, 2, 2).double()
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    with torch.no_grad():
        truth.transition.copy_(torch.stack([0.95 * turn, 0.95 * torch.eye(2)]))
        truth.emission.copy_(torch.eye(2))
        truth.process_log_scale.fill_(-1.5)
        truth.noise_log_scale.fill_(-3.0)
    s = truth(size=100, length=20).detach()
    model = SLDS(2, 2, 2).double().start_from(s)
    fit(model, SLDSGuide(model), s, epochs=60, batch_size=50, learning_rate=0.1, progress=False)
    exact, ours = (m.log_evidence(s, num_particles=50).sum() for m in (truth, model))
    assert ours > exact - 20  # the best LDS is 3,000 nats below, and 32 numbers are learned
    own, theirs = (m_guide.smooth(s).argmax(-1) for m_guide in map(SLDSGuide, (truth, model)))
    same = (own == theirs).double().mean()
    assert max(same, 1 - same) > 0.98


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: SLDS(form="both"), "form"),  # type: ignore[arg-type]
        (lambda: SLDS(num_regimes=0), "num_regimes"),
        (lambda: SLDS(3)(torch.zeros(2, 4, 2)), "s: saw shape"),
        (lambda: SLDS(2, form="enumerated")(torch.zeros(2, 40, 2)), r"2\^40 paths"),
        (lambda: SLDS(2).log_evidence(torch.zeros(2, 40, 2)), "give particles"),
        (lambda: SLDS(2).filter(torch.zeros(2, 4, 2), num_particles=0), "num_particles"),
        (lambda: SLDS(2).forecast(torch.zeros(2, 4, 2), steps=0), "steps"),
        (lambda: SLDSGuide(SLDS(2))(), "simulate with the model"),
    ],
)
def test_bad_input_is_named(make: Any, named: str) -> None:
    with pytest.raises(InputError, match=named):
        make()
