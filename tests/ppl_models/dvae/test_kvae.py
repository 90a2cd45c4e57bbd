"""The Kalman VAE against dense Gaussians, given its modes; what it simulates is what it scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from guides.dvae.kvae import KVAEGuide
from inference.checking.report import check
from ppl_models.distributions.kalman import LinearGaussian
from ppl_models.dvae.kvae import KVAE, PseudoPath
from ppl_models.errors import InputError
from tests.ppl_models.distributions.test_kalman import condition

D, A, N, K, T = 5, 2, 3, 3, 6


def build(modes: int = K, *, feedback: bool = False, **options: Any) -> KVAE:
    """Return a model whose modes differ, and depend on what was."""
    model = KVAE(D, A, N, modes, recurrent_dim=4, feedback=feedback, **options).double()
    with torch.no_grad():
        model.transition.mul_(0.7).add_(0.3 * torch.randn_like(model.transition))
        model.emission.normal_()
        if model.control is not None:
            model.control.normal_().mul_(0.3)
        for parameter in model.modes.parameters():
            parameter.normal_()
    return model


def of_one(params: LinearGaussian, index: int, length: int) -> LinearGaussian:
    """Return the parameters of one path, with all their time dims."""
    events = (1, 2, 3, 2, 3, 3, 2, 2)
    parts = []
    for i, (part, dims) in enumerate(zip(params, events, strict=True)):
        part = part if part.dim() == dims else part[index]
        if i > 1:
            part = part.expand(length - (2 <= i <= 4), *part.shape[1:])
        parts.append(part)
    return LinearGaussian(*parts)


@pytest.mark.parametrize("modes", [1, K])
@pytest.mark.parametrize("feedback", [False, True])
def test_given_the_modes_it_is_dense_conditioning(modes: int, feedback: bool) -> None:
    model = build(modes, feedback=feedback)
    a = 3 * torch.randn(2, T, A).double()
    with torch.no_grad():
        params, smoothed, filtered = model.dynamics(a), model.smooth(a), model.filter(a)
        log_prob = model_log_prob(model, a)
    covs = smoothed.cov.expand(2, T, N, N)
    for b in range(2):
        everything = torch.ones(T, dtype=torch.bool)
        mean, cov, evidence = condition(of_one(params, b, T), a[b], everything)
        blocks = cov.unflatten(0, (T, N)).unflatten(2, (T, N)).transpose(1, 2)
        assert torch.allclose(smoothed.mean[b], mean.view(T, N), rtol=1e-9, atol=1e-9)
        assert torch.allclose(covs[b], blocks[range(T), range(T)], rtol=1e-9, atol=1e-9)
        assert torch.allclose(filtered.log_evidence[b].sum(), evidence, rtol=1e-9)
        assert torch.allclose(log_prob[b], evidence, rtol=1e-9)
    # the reference code never wrote the filter's means, and smoothed to zeros everywhere
    assert (smoothed.mean.abs().amax(-1) > 1e-2).all()


def model_log_prob(model: KVAE, a: Tensor) -> Tensor:
    conditioned = poutine.condition(model, data={"a": a})
    trace = poutine.trace(conditioned).get_trace(size=len(a), length=a.shape[1])
    trace.compute_log_prob()
    log_prob: Tensor = trace.nodes["a"]["log_prob"]
    return log_prob


def test_modes_are_those_of_the_past_alone() -> None:
    model, a = build(), torch.randn(2, T, A).double().requires_grad_()
    weights = model.modes(torch.cat([torch.zeros_like(a[:, :1]), a[:, :-1]], 1))
    assert torch.allclose(weights.sum(-1), torch.ones(2, T).double())
    before, state = torch.zeros(2, A).double(), model.modes.start((2,), a)
    for t in range(T):
        one, state = model.modes.step(before, state)
        assert torch.allclose(one, weights[:, t])
        before = a[:, t]
        params = model.dynamics(a)
        for part in (params.emission[:, t], params.transition[:, max(t - 1, 0)]):
            reached = torch.autograd.grad(part.square().sum(), a, retain_graph=True)[0]
            last = t if part.shape[-2:] == (A, N) else max(t, 1)
            assert (reached[:, last:] == 0).all()
            assert (reached[:, :last].abs().amax((0, 2)) > 0).all()


@pytest.mark.parametrize("modes", [1, K])
@pytest.mark.parametrize("feedback", [False, True])
def test_what_it_simulates_is_what_it_scores(modes: int, feedback: bool) -> None:
    model, size = build(modes, feedback=feedback, start_scale=1.0), 4_000
    with torch.no_grad():
        a = model.simulate((size,), T)
        params, filtered = model.dynamics(a), model.filter(a)
        emission = params.emission
        error = a - (emission @ filtered.predicted_mean[..., None])[..., 0]
        cov = emission @ filtered.predicted_cov @ emission.mT + params.noise_variance.diag_embed()
        white = torch.linalg.solve_triangular(
            torch.linalg.cholesky(cov), error[..., None], upper=False
        )[..., 0]
    # innovations are standard normal and white: within 4.5 standard errors, 12 means and 78
    # (co)variances, 90 chances of 7e-6
    white = white.flatten(1)
    assert (white.mean(0).abs() < 4.5 / size**0.5).all()
    eye = torch.eye(T * A).double()
    assert ((torch.cov(white.T) - eye).abs() < 4.5 * ((1 + eye) / size).sqrt()).all()


def test_one_mode_has_covariances_that_all_paths_share() -> None:
    a = torch.randn(7, T, A).double()
    assert build(1).filter(a).cov.shape == (T, N, N)
    assert build(K).filter(a).cov.shape == (7, T, N, N)


def ragged(pair: tuple[nn.Module, nn.Module], filling: float) -> tuple[Tensor, Tensor]:
    s = pair[0](size=3, length=T).detach()
    mask = torch.arange(T) < torch.tensor([[T], [4], [1]])
    return torch.where(mask[..., None], s, filling), mask


def bounds(pair: tuple[nn.Module, nn.Module], s: Tensor, mask: Tensor | None, a: Tensor) -> Tensor:
    """Return the bound's terms (B,) for given codes."""
    model, guide = pair
    q = poutine.trace(poutine.condition(guide, data={"a": a})).get_trace(s, mask)
    p = poutine.trace(poutine.condition(model, data={"a": a})).get_trace(s, mask)
    p.compute_log_prob()
    q.compute_log_prob()
    total: Tensor = sum(p.nodes[name]["log_prob"] for name in "as") - q.nodes["a"]["log_prob"]
    return total


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("modes", [1, K])
def test_padding_reaches_neither_value_nor_gradient(likelihood: str, modes: int) -> None:
    model = build(modes, feedback=True, likelihood=likelihood)
    pair = model, KVAEGuide(model).double()
    s, mask = ragged(pair, torch.nan)
    a = torch.randn(3, T, A).double()
    together = bounds(pair, s, mask, a)
    for b, count in enumerate(mask.sum(-1).tolist()):
        alone = bounds(pair, s[b : b + 1, :count], None, a[b : b + 1, :count])
        assert torch.allclose(together[b], alone[0], rtol=1e-5)
    parameters = [*pair[0].parameters(), *pair[1].parameters()]
    hidden = a.clone().requires_grad_()
    gradients = torch.autograd.grad(bounds(pair, s, mask, hidden).sum(), [hidden, *parameters])
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert (gradients[0][~mask] == 0).all()


@pytest.mark.parametrize("modes", [1, K])
@pytest.mark.parametrize("feedback", [False, True])
@pytest.mark.parametrize("learn", [False, True])
def test_the_pair_passes_the_check(modes: int, feedback: bool, learn: bool) -> None:
    model = KVAE(D, A, N, modes, feedback=feedback, learn_noise=learn, likelihood="bernoulli")
    guide = KVAEGuide(model)
    s = model(size=4, length=T).detach()
    report = check(model, guide, s)
    assert {row.name: row.event_shape for row in report.sites} == {"a": (T, A), "s": (T, D)}
    mask = torch.arange(T) < torch.tensor([[T], [4], [1], [2]])
    check(model, guide, torch.where(mask[..., None], s, torch.nan), mask)


@pytest.mark.parametrize("modes", [1, K])
def test_one_frame(modes: int) -> None:
    model = build(modes, feedback=True)
    pair = model, KVAEGuide(model).double()
    s = pair[0](size=2, length=1).detach()
    assert s.shape == (2, 1, D)
    assert Trace_ELBO().differentiable_loss(*pair, s).isfinite()


@pytest.mark.parametrize("modes", [1, K])
def test_codes_may_have_particles_and_outnumber_states(modes: int) -> None:
    model = KVAE(D, 4, 2, modes).double()
    a = torch.randn(5, 3, T, 4).double()
    mask = torch.arange(T) < torch.tensor([[T], [4], [1]])
    for given in (None, mask):
        distribution = PseudoPath(model, T, given, (3,))
        assert distribution.rsample((5,)).shape == a.shape
        each = torch.stack([distribution.log_prob(one) for one in a])
        assert torch.allclose(distribution.log_prob(a), each)


def test_without_data_it_simulates_by_the_generator() -> None:
    model = KVAE(D, A, N, likelihood="bernoulli")
    draws = []
    for _ in range(2):
        pyro.set_rng_seed(3)
        draws.append(model(size=4, length=7))
    assert torch.equal(*draws)
    assert draws[0].shape == (4, 7, D)
    assert set(draws[0].unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: KVAE(D, 0), "pseudo_dim"),
        (lambda: KVAE(D, num_modes=0), "num_modes"),
        (lambda: KVAE(D, process_scale=0.0), "process_scale"),
        (lambda: KVAE(D, likelihood="poisson"), "likelihood"),
        (lambda: KVAE(D)(torch.zeros(2, 3, D + 1)), "s: saw shape"),
        (lambda: KVAE(D, likelihood="bernoulli")(torch.full((2, 3, D), 0.5)), "bits"),
    ],
)
def test_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()


def test_modes_start_near_a_state_that_stays() -> None:
    """A^k = I + 0.05 e, C^k = 0.05 e, B^k = 0; scales are the square roots of 20, 0.08 and 0.03."""
    torch.manual_seed(0)
    model = KVAE(D, 10, 40, 4, feedback=True)
    apart = model.transition - torch.eye(40)
    for part in (apart, model.emission):
        assert abs(part.std().item() - 0.05) < 0.003  # 6,400 and 1,600 numbers: 3 errors
        assert part.mean().abs() < 0.005
    assert model.control is not None and not model.control.any()
    assert model.start_scale**2 == pytest.approx(20)
    assert torch.allclose(model.log_process.mul(2).exp(), torch.full((40,), 0.08))
    assert torch.allclose(model.log_noise.mul(2).exp(), torch.full((10,), 0.03))
