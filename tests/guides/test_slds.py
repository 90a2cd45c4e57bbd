"""Kim's distribution of regimes against the exact posterior, a sum over all paths."""

from __future__ import annotations

import math

import torch
from pyro import poutine

from guides.slds import SLDSGuide
from inference import Objective
from ppl_models.slds import SLDS
from tests.dense import conditioned, hidden_and_observed


def pair(regimes: int = 3) -> tuple[SLDS, SLDSGuide]:
    model = SLDS(3, 2, regimes).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return model, SLDSGuide(model)


def test_its_distribution_sums_to_one_and_is_near_the_exact_one() -> None:
    model, guide = pair()
    s = model(size=50, length=6).detach()
    k, scores = model.joint(s)
    exact, ours = scores.log_softmax(0), guide.regimes(s).log_prob(k[:, None])
    assert torch.allclose(ours.exp().sum(0), torch.ones(50).double())
    kl = (ours.exp() * (ours - exact)).sum(0)
    entropy = -(exact.exp() * exact).sum(0).mean()
    assert kl.min() > -1e-9 and kl.mean() < 0.03 * entropy  # merging loses a hundredth or two
    marginal = torch.einsum("pb,ptk->btk", exact.exp(), torch.nn.functional.one_hot(k, 3).double())
    assert (guide.smooth(s) - marginal).abs().mean() < 0.01


def test_the_bound_is_the_evidence_less_its_divergence() -> None:
    model, guide = pair()
    s = model(size=1, length=5).detach()
    k, scores = model.joint(s)
    q = guide.regimes(s).log_prob(k[:, None])
    evidence = scores.logsumexp(0)
    kl = (q.exp() * (q - scores.log_softmax(0))).sum()
    copies = s.expand(4000, -1, -1)
    with torch.no_grad():
        drawn = poutine.trace(guide).get_trace(copies)
        trace = poutine.trace(poutine.replay(model, drawn)).get_trace(copies)
        drawn.compute_log_prob()
        trace.compute_log_prob()
    bound = (
        trace.nodes["k"]["log_prob"] + trace.nodes["s"]["log_prob"] - drawn.nodes["k"]["log_prob"]
    )
    error = bound.std() / math.sqrt(4000)
    assert (bound.mean() - (evidence - kl)).abs() < 4 * error  # 4 standard errors
    # unbiased importance weights, too
    weight = (bound - evidence).exp()
    assert (weight.mean() - 1).abs() < 4 * weight.std() / math.sqrt(4000)


def test_it_gives_no_gradient_and_has_no_parameters() -> None:
    model, guide = pair()
    s = model(size=4, length=5).detach()
    assert not list(guide.parameters())
    assert not guide.regimes(s).log_prob(torch.zeros(4, 5, dtype=torch.long)).requires_grad
    loss = Objective().loss(model, guide, (s,))
    assert all(g.isfinite().all() for g in torch.autograd.grad(loss, list(model.parameters())))


def test_one_merge_is_moment_matching() -> None:
    """Three frames: of z_2 given k_2 the two Gaussians, of k_1 = 0 and 1, become their moments.

    Written out densely: conditioning of two frames, mean and covariance of a mixture, and the
    density of the third frame under the one Gaussian that is left.
    """
    model, guide = pair(2)
    size, width = model.latent_dim, model.data_dim
    s = model(size=4, length=3).detach()
    switch, start = model.switch_logits.softmax(-1), model.regime_logits.softmax(-1)
    emission, offset, noise = (part[0] for part in model.emission_params())
    expected = torch.zeros(4, 2, 2).double()
    for row in range(4):
        parts = {}
        for i in range(2):
            for j in range(2):
                k = torch.tensor([i, j])
                params = [x.detach() for x in model.dynamics(k)]
                frames = [x.expand(2, *x.shape[1:]) for x in params[2:]]
                mean, cov = hidden_and_observed(*params[:2], *frames)
                seen = s[row, :2].flatten()
                law = torch.distributions.MultivariateNormal(
                    mean[2 * size :], cov[2 * size :, 2 * size :]
                )
                weight = start[i] * switch[i, j] * law.log_prob(seen).exp()
                z_mean, z_cov = conditioned(mean, cov, seen)
                parts[i, j] = weight, z_mean[size:], z_cov[size:, size:]
        for j in range(2):
            weights = torch.stack([parts[i, j][0] for i in range(2)])
            share = weights / weights.sum()
            merged = sum(share[i] * parts[i, j][1] for i in range(2))
            square = sum(
                share[i] * (parts[i, j][2] + torch.outer(parts[i, j][1], parts[i, j][1]))
                for i in range(2)
            )
            spread = square - torch.outer(merged, merged)
            for last in range(2):
                a, q = model.transition[last], (2 * model.process_log_scale[last]).exp().diag()
                ahead = a @ merged + model.transition_offset[last]
                around = emission @ (a @ spread @ a.T + q) @ emission.T + noise.diag()
                law = torch.distributions.MultivariateNormal(emission @ ahead + offset, around)
                density = law.log_prob(s[row, 2]).exp()
                expected[row, j, last] = weights.sum() * switch[j, last] * density
    expected = expected / expected.sum((1, 2), keepdim=True)
    assert width == 3 and torch.allclose(guide.smooth(s)[:, 2], expected.sum(1), atol=1e-9)
    assert torch.allclose(guide.smooth(s)[:, 1], expected.sum(2), atol=1e-9)


def test_of_two_frames_nothing_is_merged_and_the_regimes_are_exact() -> None:
    model, guide = pair()
    s = model(size=20, length=2).detach()
    k, scores = model.joint(s)
    assert torch.allclose(guide.regimes(s).log_prob(k[:, None]), scores.log_softmax(0), atol=1e-9)
