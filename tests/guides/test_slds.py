"""Kim's distribution of regimes against the exact posterior, a sum over all paths."""

from __future__ import annotations

import math

import torch
from pyro import poutine

from guides.slds import SLDSGuide
from inference import Objective
from ppl_models.slds import SLDS


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
