"""Kim's distribution of regimes against the exact posterior, a sum over all paths."""

from __future__ import annotations

import math

import pytest
import torch
from pyro import poutine
from torch.distributions import MultivariateNormal

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
    """Four frames: of z_3 given k_3 the two Gaussians, of k_2 = 0 and 1, become their moments.

    (z_1 has one distribution whatever k_1, so that nothing is merged before.) Written out densely:
    conditioning on three frames, mean and covariance of a mixture, and the density of the fourth
    frame under the one Gaussian that is left.
    """
    model, guide = pair(2)
    size = model.latent_dim
    s = model(size=4, length=4).detach()
    switch, start = model.switch_logits.softmax(-1), model.regime_logits.softmax(-1)
    emission, offset, noise = (part[0] for part in model.emission_params())
    expected = torch.zeros(4, 2, 2).double()
    for row in range(4):
        seen = s[row, :3].flatten()
        for j in range(2):  # k_3
            weights, means, covs = [], [], []
            for i in range(2):  # k_2
                params = [x.detach() for x in model.dynamics(torch.tensor([0, i, j]))]
                frames = [x.expand(3, *x.shape[1:]) for x in params[5:]]
                mean, cov = hidden_and_observed(*params[:5], *frames)
                law = MultivariateNormal(mean[3 * size :], cov[3 * size :, 3 * size :])
                weights.append((start @ switch)[i] * switch[i, j] * law.log_prob(seen).exp())
                z_mean, z_cov = conditioned(mean, cov, seen)
                means.append(z_mean[2 * size :])
                covs.append(z_cov[2 * size :, 2 * size :])
            weight = torch.stack(weights)
            share = weight / weight.sum()
            merged = sum(share[i] * means[i] for i in range(2))
            square = sum(share[i] * (covs[i] + torch.outer(means[i], means[i])) for i in range(2))
            spread = square - torch.outer(merged, merged)
            for last in range(2):  # k_4
                a, q = model.transition[last], (2 * model.process_log_scale[last]).exp().diag()
                ahead = emission @ (a @ merged + model.transition_offset[last]) + offset
                around = emission @ (a @ spread @ a.T + q) @ emission.T + noise.diag()
                density = MultivariateNormal(ahead, around).log_prob(s[row, 3]).exp()
                expected[row, j, last] = weight.sum() * switch[j, last] * density
    expected = expected / expected.sum((1, 2), keepdim=True)
    assert torch.allclose(guide.smooth(s)[:, 3], expected.sum(1), atol=1e-9)
    assert torch.allclose(guide.smooth(s)[:, 2], expected.sum(2), atol=1e-9)


@pytest.mark.parametrize("length", [2, 3])
def test_of_two_or_three_frames_nothing_is_merged_and_the_regimes_are_exact(length: int) -> None:
    model, guide = pair()
    s = model(size=20, length=length).detach()
    k, scores = model.joint(s)
    assert torch.allclose(guide.regimes(s).log_prob(k[:, None]), scores.log_softmax(0), atol=1e-9)
