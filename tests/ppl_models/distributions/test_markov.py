"""Markov chains against sums over all paths."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from ppl_models.distributions.markov import (
    MarkovPath,
    as_path,
    best_path,
    filter_states,
    smooth_states,
)

K, T, B = 3, 5, 4
CLOSE: Any = {"rtol": 0, "atol": 1e-10}


def chain() -> tuple[Tensor, Tensor, Tensor]:
    initial, transition = torch.randn(K).double(), torch.randn(K, K).double()
    return initial.log_softmax(-1), transition.log_softmax(-1), 3 * torch.randn(B, T, K).double()


def paths() -> Tensor:
    return torch.cartesian_prod(*[torch.arange(K)] * T)


def joint(initial: Tensor, transition: Tensor, said: Tensor) -> Tensor:
    """log p(path, s) of every path, written out: (K^T, B)."""
    scores = []
    for path in paths().tolist():
        score = initial[path[0]] + sum(transition[a, b] for a, b in pairwise(path))
        scores.append(score + sum(said[:, t, k] for t, k in enumerate(path)))
    return torch.stack(scores)


def test_messages_are_sums_over_all_paths() -> None:
    initial, transition, said = chain()
    total = joint(initial, transition, said)
    filtered = filter_states(initial, transition, said)
    evidence = filtered.log_evidence.sum(-1)
    assert torch.allclose(evidence, total.logsumexp(0), **CLOSE)
    states, pairs = smooth_states(filtered.log_probs, transition)
    weight = total.softmax(0)
    for t in range(T):
        for k in range(K):
            expected = weight[paths()[:, t] == k].sum(0)
            assert torch.allclose(states[:, t, k].exp(), expected, **CLOSE)
    both = weight[(paths()[:, 1] == 2) & (paths()[:, 2] == 0)].sum(0)
    assert torch.allclose(pairs[:, 1, 2, 0].exp(), both, **CLOSE)
    assert torch.equal(best_path(initial, transition, said), paths()[total.argmax(0)])
    posterior = as_path(states, pairs)
    assert torch.allclose(posterior.log_prob(paths()[:, None]), total.log_softmax(0), **CLOSE)


def test_a_filtered_state_knows_nothing_of_later_frames() -> None:
    initial, transition, said = chain()
    long = filter_states(initial, transition, said)
    short = filter_states(initial, transition, said[:, :3])
    assert torch.equal(long.log_probs[:, :3], short.log_probs)


def test_a_path_s_distribution_sums_to_one_and_is_what_it_draws() -> None:
    initial, transition, _ = chain()
    distribution = MarkovPath(initial, transition.expand(T - 1, K, K)).expand([2])
    listed = distribution.enumerate_support()
    assert listed.shape == (K**T, 2, T) and torch.equal(listed[:, 0], paths())
    probs = distribution.log_prob(listed).exp()[:, 0]
    assert torch.allclose(probs.sum(), torch.ones(()).double())
    drawn = distribution.sample((10_000,)).flatten(0, 1)
    code = (drawn * K ** torch.arange(T - 1, -1, -1)).sum(-1)
    counts = torch.bincount(code, minlength=K**T) / len(code)
    # 243 shares, each within 5 standard errors: a chance of 1e-4
    assert ((counts - probs).abs() < 5 * (probs / len(code)).sqrt() + 1e-4).all()


def test_masked_frames_of_a_path_count_nothing() -> None:
    initial, transition, _ = chain()
    mask = torch.arange(T) < 3
    steps = transition.expand(T - 1, K, K)
    whole = MarkovPath(initial, steps, mask).log_prob(paths())
    part = MarkovPath(initial, steps[:2]).log_prob(paths()[:, :3])
    assert torch.allclose(whole, part)
    with pytest.raises(NotImplementedError, match="mask"):
        MarkovPath(initial, steps, mask).enumerate_support()


def test_a_path_of_one_frame() -> None:
    initial, transition, said = chain()
    filtered = filter_states(initial, transition, said[:, :1])
    states, pairs = smooth_states(filtered.log_probs, transition)
    assert torch.equal(states, filtered.log_probs) and pairs.shape == (B, 0, K, K)
    path = as_path(states, pairs)
    assert path.sample().shape == (B, 1)
    assert torch.equal(best_path(initial, transition, said[:, :1]), states.argmax(-1))


def test_long_loud_paths_stay_finite() -> None:
    """10,000 nats a frame between states, 2,000 frames, in single precision."""
    initial, transition = torch.zeros(K).log_softmax(-1), torch.zeros(K, K).log_softmax(-1)
    said = 1e4 * torch.randn(1, 2000, K)
    filtered = filter_states(initial, transition, said)
    assert filtered.log_probs.exp().sum(-1).allclose(torch.ones(1))
    exact = filter_states(initial.double(), transition.double(), said.double()).log_evidence.sum()
    assert abs(filtered.log_evidence.double().sum() / exact - 1) < 1e-6
