"""The linear dynamical system against dense Gaussians, and against Pyro's GaussianHMM."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import MultivariateNormal

from guides.lds import LDSGuide
from inference import Objective, check, fit, fit_em
from ppl_models.errors import InputError
from ppl_models.lds import LDS
from tests.dense import conditioned, hidden_and_observed

D, L, T, B = 3, 2, 6, 5
ENDS = torch.tensor([T, 3, 1, 2, T])
CLOSE: Any = {"rtol": 0, "atol": 1e-8}


def build(form: Any = "exact") -> LDS:
    """A model with no two numbers alike, in double precision."""
    model = LDS(D, L, form=form).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def ragged(model: LDS) -> tuple[Tensor, Tensor]:
    s, mask = model(size=B, length=T).detach(), torch.arange(T) < ENDS[:, None]
    s[~mask] = torch.nan
    return s, mask


def dense(model: LDS, length: int) -> tuple[Tensor, Tensor]:
    """Mean and covariance of (z, s), both flat."""
    params = [part.expand(length, *part.shape[1:]) for part in model.dynamics()[2:]]
    return hidden_and_observed(*model.dynamics()[:2], *params)


def test_answers_are_those_of_a_dense_gaussian() -> None:
    model = build()
    s, mask = ragged(model)
    evidence = model.log_evidence(s, mask)
    filtered, smoothed = model.filter(s, mask), model.smooth(s, mask)
    for row, n in enumerate(ENDS.tolist()):
        mean, cov = dense(model, n)
        observed = s[row, :n].flatten()
        distribution = MultivariateNormal(mean[n * L :], cov[n * L :, n * L :])
        assert torch.allclose(evidence[row], distribution.log_prob(observed), **CLOSE)
        m, c = conditioned(mean, cov, observed)
        assert torch.allclose(smoothed.mean[row, :n].flatten(), m, **CLOSE)
        blocks = c.reshape(n, L, n, L)
        for t in range(n):
            assert torch.allclose(smoothed.cov[row, t], blocks[t, :, t], **CLOSE)
            if t + 1 < n:
                assert torch.allclose(smoothed.cross[row, t], blocks[t + 1, :, t], **CLOSE)
        assert torch.allclose(filtered.mean[row, n - 1], m[-L:], **CLOSE)
        assert torch.allclose(filtered.cov[row, n - 1], c[-L:, -L:], **CLOSE)


def test_evidence_agrees_with_pyro_s_gaussian_hmm() -> None:
    model = build()
    s = model(size=B, length=T).detach()
    p = model.dynamics()
    theirs = dist.GaussianHMM(
        # before the first frame Pyro takes a step: from anywhere, to N(m, P)
        dist.MultivariateNormal(torch.zeros(L).double(), torch.eye(L).double()),
        torch.cat([torch.zeros(1, L, L).double(), p.transition.mT.expand(T - 1, L, L)]),
        dist.MultivariateNormal(
            torch.cat([p.initial_mean[None], p.transition_offset.expand(T - 1, L)]),
            torch.cat([p.initial_cov[None], p.process_cov.expand(T - 1, L, L)]),
        ),
        p.emission.mT,
        dist.MultivariateNormal(p.emission_offset, p.noise_variance.diag_embed()),
    )
    assert torch.allclose(model.log_evidence(s), theirs.log_prob(s), rtol=0, atol=1e-5)


def test_joint_density_is_the_dense_gaussian_s() -> None:
    model = build("joint")
    trace: Any = poutine.trace(model).get_trace(size=B, length=T)
    z, s = (trace.nodes[name]["value"].detach() for name in "zs")
    mean, cov = dense(model, T)
    expected = MultivariateNormal(mean, cov).log_prob(torch.cat([z.flatten(1), s.flatten(1)], 1))
    trace.compute_log_prob()
    ours = trace.nodes["z"]["log_prob"] + trace.nodes["s"]["log_prob"]
    assert torch.allclose(ours, expected, **CLOSE)


@pytest.mark.parametrize("form", ["exact", "joint"])
def test_simulated_paths_have_the_dense_moments(form: Any) -> None:
    model, draws = build(form), 10_000
    s = model(size=draws, length=3).detach().flatten(1)
    mean, cov = (part.detach() for part in dense(model, 3))
    mean, cov = mean[3 * L :], cov[3 * L :, 3 * L :]
    deviation = cov.diag().sqrt()
    # within 5 standard errors, 9 means and 45 (co)variances
    assert ((s.mean(0) - mean).abs() < 5 * deviation / draws**0.5).all()
    scale = torch.outer(deviation, deviation)
    error = (s - mean).T @ (s - mean) / draws - cov
    assert (error.abs() / scale < 5 * ((1 + (cov / scale) ** 2) / draws).sqrt()).all()


@pytest.mark.parametrize("form", ["exact", "joint"])
def test_every_draw_s_bound_is_the_evidence_and_its_gradient(form: Any) -> None:
    model = build(form)
    guide, names = LDSGuide(model), list(model.parameters())
    s, mask = ragged(model)
    exact = model.log_evidence(s, mask).mean()
    expected = torch.autograd.grad(exact, names)
    for _ in range(3):
        bound = -Objective().loss(model, guide, (s, mask))
        assert torch.allclose(bound, exact, **CLOSE)
        for ours, theirs in zip(torch.autograd.grad(bound, names), expected, strict=True):
            assert theirs.isfinite().all() and torch.allclose(ours, theirs, **CLOSE)


def test_a_ragged_batch_is_its_paths_one_by_one() -> None:
    model = build()
    s, mask = ragged(model)
    names = list(model.parameters())
    together = model.log_evidence(s, mask)
    alone = torch.cat([model.log_evidence(s[i : i + 1, :n]) for i, n in enumerate(ENDS.tolist())])
    assert torch.allclose(together, alone, **CLOSE)
    pairs = (torch.autograd.grad(x.sum(), names) for x in (together, alone))
    for a, b in zip(*pairs, strict=True):
        assert a.isfinite().all() and torch.allclose(a, b, **CLOSE)


@pytest.mark.parametrize("form", ["exact", "joint"])
def test_the_pair_passes_check(form: Any) -> None:
    model = LDS(D, L, form=form)
    s = model(size=B, length=T).detach()
    assert check(model, LDSGuide(model), s).sites
    assert check(model, LDSGuide(model), s, torch.arange(T) < ENDS[:, None]).sites


def test_a_forecast_is_dense_conditioning() -> None:
    model = build()
    s, mask = ragged(model)
    forecast = model.forecast(s, mask, steps=2)
    for row, n in enumerate(ENDS.tolist()):
        mean, cov = dense(model, n + 2)
        keep = torch.cat([torch.arange((n + 2) * L), torch.arange(n * D) + (n + 2) * L])
        m, c = conditioned(mean[keep], cov[keep][:, keep], s[row, :n].flatten())
        assert torch.allclose(forecast.mean[row].flatten(), m[n * L :], **CLOSE)
        assert torch.allclose(forecast.cov[row, 1], c[-L:, -L:], **CLOSE)
        # and of the frame itself: p(s_{1:n+1}) = p(s_{1:n}) p(s_{n+1} | s_{1:n})
        x = torch.randn(1, D).double()
        longer = torch.cat([s[row, :n], x])[None]
        ratio = model.log_evidence(longer) - model.log_evidence(longer[:, :n])
        assert torch.allclose(forecast.frames.log_prob(x)[row, :1], ratio, **CLOSE)


def truth() -> LDS:
    """A damped rotation of two numbers, observed as three."""
    model = LDS(D, L).double()
    with torch.no_grad():
        model.transition.copy_(torch.tensor([[0.8, 0.4], [-0.4, 0.8]]))
        model.emission.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]]))
        model.emission_offset.copy_(torch.tensor([1.0, -2.0, 0.5]))
    return model


def same_up_to_a_basis(true: LDS, model: LDS) -> None:
    """What no basis of z changes, within some 4 standard errors of 4,000 frames."""
    modes = torch.linalg.eigvals(model.transition).abs()
    assert torch.allclose(modes, torch.linalg.eigvals(true.transition).abs(), rtol=0, atol=0.03)
    (mean, cov), (m, c) = dense(true, 4), dense(model, 4)
    deviation = cov[4 * L :, 4 * L :].diag().sqrt()
    off = (c - cov)[4 * L :, 4 * L :] / torch.outer(deviation, deviation)
    assert off.abs().max() < 0.2 and ((m - mean)[4 * L :] / deviation).abs().max() < 0.2


def test_em_never_falls_and_recovers_what_was_simulated() -> None:
    true = truth()
    s = true(size=100, length=40).detach()
    mask = torch.arange(40) < torch.randint(20, 41, (100, 1))
    mask[0] = torch.arange(40) < 1
    s = s.masked_fill(~mask[..., None], torch.nan)
    model = LDS(D, L).double().start_from(s, mask)
    history = fit_em(model, s, mask, steps=60)
    assert all(b > a - 1e-8 * abs(a) for a, b in pairwise(history))
    assert history[-1] > true.log_evidence(s, mask).sum() - 2
    same_up_to_a_basis(true, model)


def test_gradients_recover_what_was_simulated() -> None:
    true = truth()
    s = true(size=200, length=20).detach()
    model = LDS(D, L).double().start_from(s)
    fit(model, LDSGuide(model), s, epochs=40, batch_size=100, learning_rate=0.05, progress=False)
    # 23 numbers that no basis changes: the fit is some 23 / 2 nats better than the truth
    assert model.log_evidence(s).sum() > true.log_evidence(s).sum()
    same_up_to_a_basis(true, model)


def test_em_of_single_frames_learns_no_motion() -> None:
    model = build()
    before = model.transition.clone()
    history = fit_em(model, model(size=50, length=1).detach(), steps=5, tolerance=0)
    assert torch.equal(model.transition, before)
    assert all(b > a - 1e-8 * abs(a) for a, b in pairwise(history))


@pytest.mark.parametrize("form", ["exact", "joint"])
def test_single_precision_for_500_frames(form: Any) -> None:
    model = LDS(D, L, form=form)
    s = model(size=2, length=500).detach()
    bound = -2 * Objective().loss(model, LDSGuide(model), (s,))
    exact = model.double().log_evidence(s.double()).sum()
    assert abs(bound.double() / exact - 1) < 1e-5


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: LDS(form="both"), "form"),  # type: ignore[arg-type]
        (lambda: LDS(latent_dim=0), "latent_dim"),
        (lambda: LDS(data_dim=0), "data_dim"),
        (lambda: LDS(3)(torch.zeros(2, 4, 2)), "s: saw shape"),
        (lambda: LDS(2)(torch.zeros(2, 4, 2), torch.ones(2, 3, dtype=torch.bool)), "mask"),
        (lambda: LDS(2).forecast(torch.zeros(2, 4, 2), steps=0), "steps"),
    ],
)
def test_bad_input_is_named(make: Any, named: str) -> None:
    with pytest.raises(InputError, match=named):
        make()
