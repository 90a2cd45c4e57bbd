"""Gaps in a Kalman VAE: codes of frames not seen against dense Gaussians, and what reads them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pyro import poutine

from guides import KVAEGuide
from guides.dvae.kvae import impute as fill_in
from inference import Objective, check, fit, importance
from inference.randomness import seeded
from inference.tasks.imputation import impute
from inference.tasks.particle_filter import particle_filter
from ppl_models import KVAE
from tests.dense import conditioned, hidden_and_observed
from tests.ppl_models.dvae.test_gaps import MASK, B, T, holes
from tests.sequences import D, gradients


def linear_kvae() -> tuple[KVAE, KVAEGuide, Any]:
    """One mode and a linear decoder; s is then Gaussian, and its dense mean and covariance."""
    with seeded(4):
        model = KVAE(D, 2, 3, 1, hidden_dims=(), start_scale=1.0, noise_scale=0.5).double()
        torch.nn.init.normal_(model.emission)
        guide = KVAEGuide(model, hidden_dims=(8,), gaps=True).double()
    params = [part.detach() for part in model.dynamics(torch.zeros(1, T, 2).double())]
    dims = (2, 1, 2, 2, 1, 1)
    rows = [x.reshape(-1, *x.shape[-n:]) for n, x in zip(dims, params[2:], strict=True)]
    frames = [x[:1].expand(T, *x.shape[1:]) for x in rows]  # all of them are alike
    mean, cov = hidden_and_observed(*params[:2], *frames)  # of z and a
    mean, cov = mean[3 * T :], cov[3 * T :, 3 * T :]
    layer = next(part for part in model.decoder.modules() if isinstance(part, torch.nn.Linear))
    decode = torch.block_diag(*[layer.weight.detach()] * T)
    s_mean = decode @ mean + layer.bias.detach().repeat(T)
    noise = (model.likelihood.scale.detach() ** 2) * torch.eye(T * D).double()
    joint = torch.cat([mean, s_mean])
    cross = torch.cat([cov, cov @ decode.T], 1)
    both = torch.cat([cross, torch.cat([decode @ cov, decode @ cov @ decode.T + noise], 1)])
    return model, guide, (joint, both)


def test_codes_of_a_gap_are_those_of_the_dense_gaussian_and_cancel() -> None:
    model, guide, (mean, cov) = linear_kvae()
    seen = holes(1)
    frames = seen.any(-1)[0]
    s = torch.where(seen, model(size=1, length=T).detach(), torch.nan)
    q = poutine.trace(guide).get_trace(s, observed=seen).nodes["a"]["fn"]
    torch.manual_seed(0)
    a = q.expand((1,)).sample()
    code = torch.arange(T * 2).reshape(T, 2)
    given, gone = code[frames].flatten(), code[~frames].flatten()
    values = a[0].flatten()[given]
    order = torch.cat([gone, given])
    gap_mean, gap_cov = conditioned(mean[order], cov[order][:, order], values)
    encoded = torch.distributions.Normal(*guide.moments(s, seen))
    own = encoded.log_prob(a)[0, frames].sum()
    gap = torch.distributions.MultivariateNormal(gap_mean, gap_cov)
    expected = own + gap.log_prob(a[0].flatten()[gone])
    assert torch.allclose(q.log_prob(a)[0], expected, atol=1e-8)
    drawn = q.sample((2000,))[:, 0]
    both = drawn.flatten(1)[:, gone]  # over draws of the codes seen, too: mean of the means
    law = conditioned(mean[order], cov[order][:, order], drawn.flatten(1)[:, given].mean(0))[0]
    assert ((both.mean(0) - law).abs() < 4.5 * both.std(0) / 2000**0.5).all()


def test_codes_of_a_padded_sequence_with_gaps_have_the_density_of_the_cut_one() -> None:
    model, guide, _ = linear_kvae()
    seen, n = holes(1), T - 2
    s = model(size=1, length=T).detach()
    mask = torch.arange(T)[None] < n
    hidden = torch.where(seen & mask[..., None], s, torch.nan)
    long = poutine.trace(guide).get_trace(hidden, mask, observed=seen).nodes["a"]["fn"]
    cut = poutine.trace(guide).get_trace(hidden[:, :n], observed=seen[:, :n]).nodes["a"]["fn"]
    a = torch.randn(1, T, 2).double()
    assert not bool(seen[0, 2:4].any())  # a gap within the frames that exist
    assert torch.allclose(long.log_prob(a), cut.log_prob(a[:, :n]), atol=1e-9)


def test_a_linear_kalman_vae_with_gaps_has_the_evidence_of_the_dense_gaussian() -> None:
    model, guide, (mean, cov) = linear_kvae()
    seen = holes()
    s = torch.where(seen, model(size=B, length=T).detach(), torch.nan)
    exact = []
    for row in range(B):
        at = torch.arange(2 * T, (2 + D) * T)[seen[row].flatten()]
        law = torch.distributions.MultivariateNormal(mean[at], cov[at][:, at])
        exact.append(law.log_prob(s[row][seen[row]]))
    evidence = torch.stack(exact)
    found = importance(model, guide, s, observed=seen, num_samples=3000)
    assert (found.elbo < evidence).all()
    particles = particle_filter(model, s, observed=seen, num_particles=5000)
    assert torch.allclose(particles.log_evidence, evidence, atol=0.3)


@pytest.mark.parametrize("modes", [1, 3])
@pytest.mark.parametrize("feedback", [False, True])
def test_a_kalman_vae_trains_on_gaps_and_reads_nothing_in_them(modes: int, feedback: bool) -> None:
    with seeded(0):
        model = KVAE(D, 2, 3, modes, feedback=feedback)
        guide, seen = KVAEGuide(model, gaps=True), holes()
    s, found = model(size=B, length=T).detach(), []
    for filling in (torch.nan, 9.0):
        hidden = torch.where(seen & MASK[..., None], s, torch.tensor(filling))
        torch.manual_seed(1)
        loss = Objective().loss(model, guide, (hidden, MASK), {"observed": seen})
        found.append([loss, *gradients(torch.nn.ModuleList([model, guide]), loss)])
    for a, b in zip(*found, strict=True):
        assert a.isfinite().all() and torch.equal(a, b)
    s = torch.where(seen, s, torch.nan)
    assert check(model, guide, s, observed=~s.isnan()).sites
    assert fit(model, guide, {"s": s, "observed": seen}, epochs=1, progress=False).history
    whole = fill_in(model, guide, s, seen)
    assert torch.equal(whole[seen], s[seen]) and whole.isfinite().all()
    drawn = impute(model, guide, s, observed=seen, num_samples=3).draws["s"]
    assert torch.equal(drawn[:, seen], s[seen].expand(3, -1)) and drawn.isfinite().all()
