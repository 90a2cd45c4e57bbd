"""Particles against sums over all paths of regimes."""

from __future__ import annotations

import math

import torch

from ppl_models.distributions.particles import _resample, track
from tests.ppl_models.test_slds import ENDS, B, K, build, by_hand, ragged


def test_particles_estimate_the_evidence_without_bias() -> None:
    model, runs = build(), 400
    s, mask = ragged(model)
    exact = model.log_evidence(s, mask).repeat(runs)
    copies = s.repeat(runs, 1, 1), mask.repeat(runs, 1)
    ratio = (model.log_evidence(*copies, num_particles=3) - exact).exp().reshape(runs, B)
    error = ratio.std(0) / math.sqrt(runs)
    assert ((ratio.mean(0) - 1).abs() < 4 * error + 1e-9).all()  # 4 standard errors
    assert error[[0, 4]].min() > 1e-3  # three particles do differ on whole paths
    many = model.log_evidence(s, mask, num_particles=3000)
    assert torch.allclose(many, exact[:B], rtol=0, atol=0.05)  # some 0.5 / sqrt(3000) a frame


def test_filtered_regimes_are_the_sum_s() -> None:
    model = build()
    s, mask = ragged(model)
    filtered = model.filter(s, mask, num_particles=4000)
    for row, n in enumerate(ENDS.tolist()):
        paths, scores = by_hand(model, s[row, :n])
        last = torch.nn.functional.one_hot(paths[:, -1], K).double()
        expected = scores.softmax(0) @ last
        # within 0.03, some 4 sqrt(p (1 - p) / 4000)
        assert torch.allclose(filtered.regimes[row, n - 1], expected, rtol=0, atol=0.03)


def test_the_same_seed_gives_the_same_particles(untouched: None) -> None:
    with torch.random.fork_rng():
        model = build()
        s, mask = ragged(model)
    first, second, third = (track(model, s, mask, num_particles=5, seed=i) for i in (1, 1, 2))
    assert torch.equal(first.mean, second.mean) and not torch.equal(first.mean, third.mean)


def test_children_are_as_many_as_they_weigh() -> None:
    weight = torch.rand(50, 12).double()
    weight = weight / weight.sum(-1, keepdim=True)
    kept = _resample(weight, 20, torch.Generator().manual_seed(0))
    counts = torch.nn.functional.one_hot(kept, 12).sum(1)
    assert ((counts - 20 * weight).abs() < 1 + 1e-9).all()


def test_equal_parents_keep_different_children() -> None:
    """300 particles of one past, two regimes as likely: half of them go each way."""
    model = build()
    with torch.no_grad():
        model.switch_logits.zero_()
        model.transition.copy_(model.transition[:1].expand_as(model.transition))
        model.transition_offset.zero_()
        model.process_log_scale.zero_()
    filtered = track(model, torch.randn(1, 3, 3).double(), num_particles=300)
    assert torch.allclose(filtered.regimes[0, 1:], torch.full((2, K), 1 / K).double(), atol=1e-9)
    exact = model.log_evidence(torch.zeros(1, 3, 3).double())
    one = track(model, torch.zeros(1, 3, 3).double(), num_particles=300).log_evidence
    assert torch.allclose(one, exact)  # regimes differ in nothing: any particle is right
