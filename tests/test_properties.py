"""Properties that hold for any numbers, shapes and masks, on numbers that hypothesis draws."""

from __future__ import annotations

import math
from itertools import combinations, product

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from inference.diagnostics.marginal_khat import normal_scores
from inference.diagnostics.pareto import smooth
from inference.diagnostics.resample import systematic
from inference.diagnostics.vsbc import symmetry_pvalue
from inference.objectives.importance_weighted import iwae, renyi
from ppl_models import HMM, LDS
from ppl_models.distributions.markov import (
    best_path,
    filter_states,
    smooth_states,
)

few = settings(max_examples=25, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**31)


def numbers(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    return scale * drawn


# --- sequences ------------------------------------------------------------------------------------


@settings(few, max_examples=12)
@given(seeds, st.lists(st.integers(1, 6), min_size=1, max_size=4), st.sampled_from(["hmm", "lds"]))
def test_padded_sequences_have_the_evidence_of_cut_ones(
    seed: int, lengths: list[int], kind: str
) -> None:
    model = (HMM(2, 3) if kind == "hmm" else LDS(2, 3)).double()
    with torch.no_grad():
        for i, parameter in enumerate(model.parameters()):
            parameter.copy_(numbers(seed + i, *parameter.shape, scale=0.5))
    s = numbers(seed, len(lengths), 7, 2)
    mask = torch.arange(7) < torch.tensor(lengths)[:, None]
    padded = model.log_evidence(s.masked_fill(~mask[..., None], torch.nan), mask)
    each = [model.log_evidence(row[None, :n])[0] for row, n in zip(s, lengths, strict=True)]
    assert torch.allclose(padded, torch.stack(each), atol=1e-9)


@few
@given(seeds, st.integers(1, 4), st.integers(1, 4))
def test_sums_over_paths_are_those_of_all_paths_one_by_one(
    seed: int, size: int, length: int
) -> None:
    initial = numbers(seed, size).log_softmax(-1)
    transition = numbers(seed + 1, size, size).log_softmax(-1)
    scores = numbers(seed + 2, length, size, scale=3.0)
    paths = torch.tensor(list(product(range(size), repeat=length)))
    joint = initial[paths[:, 0]] + scores[torch.arange(length), paths].sum(1)
    joint = joint + transition[paths[:, :-1], paths[:, 1:]].sum(1)
    found = filter_states(initial, transition, scores)
    assert torch.allclose(found.log_evidence.sum(), joint.logsumexp(0), atol=1e-9)
    states, pairs = smooth_states(found.log_probs, transition)
    share = joint.softmax(0)
    for t in range(length):
        known = torch.stack([share[paths[:, t] == k].sum() for k in range(size)])
        assert torch.allclose(states[t].exp(), known, atol=1e-9)
    for t in range(length - 1):
        both = (paths[:, t : t + 2, None, None] == torch.arange(size)[:, None]).squeeze(-1)
        one, two = both[:, 0].double(), both[:, 1].double()
        known = torch.einsum("p,pi,pj->ij", share, one, two)
        assert torch.allclose(pairs[t].exp(), known, atol=1e-9)
    assert torch.equal(best_path(initial, transition, scores), paths[joint.argmax()])


# --- weights --------------------------------------------------------------------------------------


@few
@given(seeds, st.integers(2, 6), st.floats(0.1, 20.0))
def test_a_bound_of_more_draws_is_no_looser(seed: int, draws: int, scale: float) -> None:
    """Burda et al. 2016, theorem 1, of all subsets of the draws and not in expectation alone."""
    weights = numbers(seed, draws, 3, scale=scale)
    means = [
        torch.stack([iwae(weights[list(some)]) for some in combinations(range(draws), k)]).mean(0)
        for k in range(1, draws + 1)
    ]
    for fewer, more in zip(means, means[1:], strict=False):
        assert bool((fewer <= more + 1e-9).all())
    assert torch.allclose(means[0], weights.mean(0)) and torch.allclose(means[-1], iwae(weights))


@few
@given(seeds, st.integers(2, 20), st.floats(-3.0, 0.9), st.floats(0.01, 1.0))
def test_renyi_s_bound_falls_with_alpha(seed: int, draws: int, alpha: float, step: float) -> None:
    """Li and Turner 2016, theorem 1; at 0 it is IWAE, at 1 the ELBO."""
    weights = numbers(seed, draws, 3, scale=2.0)
    assert bool((renyi(weights, alpha) >= renyi(weights, alpha + step) - 1e-7).all())
    assert torch.allclose(renyi(weights, 0.0), iwae(weights))
    assert torch.allclose(renyi(weights, 1.0), weights.mean(0))


@few
@given(seeds, st.integers(30, 400), st.floats(0.2, 4.0), st.floats(-500.0, 500.0))
def test_smoothed_weights_ask_neither_for_order_nor_for_a_constant(
    seed: int, draws: int, scale: float, shift: float
) -> None:
    weights = numbers(seed, draws, 2, scale=scale)
    order = torch.randperm(draws, generator=torch.Generator().manual_seed(seed))
    smoothed, khat = smooth(weights)
    moved, same = smooth((weights + shift)[order])
    assert torch.allclose(moved, smoothed[order], atol=1e-8) and torch.allclose(same, khat)
    assert torch.allclose(smoothed.logsumexp(0), torch.zeros(2).double(), atol=1e-9)
    # what is smoothed stays in order, and the largest is cut to the largest raw weight
    ranks = weights.argsort(0)
    assert bool((smoothed.gather(0, ranks).diff(dim=0) >= -1e-9).all())


@few
@given(seeds, st.integers(1, 12), st.integers(1, 40))
def test_a_draw_is_chosen_as_often_as_its_weight_says_up_to_one(
    seed: int, draws: int, wanted: int
) -> None:
    weights = numbers(seed, draws, 3).log_softmax(0)
    chosen = systematic(weights, wanted)
    assert chosen.shape == (wanted, 3)
    for column, expected in zip(chosen.T, (wanted * weights.exp()).T, strict=True):
        count = torch.bincount(column, minlength=draws)
        assert bool(((count - expected).abs() < 1 + 1e-6).all())


@few
@given(seeds, st.integers(1, 60), st.integers(1, 4))
def test_normal_scores_are_those_of_ranks(seed: int, draws: int, size: int) -> None:
    values = numbers(seed, draws, size)
    scores = normal_scores(values)
    assert torch.equal(scores.argsort(0), values.argsort(0))
    assert torch.allclose(scores, normal_scores(values.exp() * 3))  # of any growing function
    assert float(scores.mean().abs()) < 1e-9


# --- tests of symmetry ----------------------------------------------------------------------------


@few
@given(seeds, st.integers(1, 9))
def test_the_p_value_of_symmetry_is_the_share_of_all_signs(seed: int, size: int) -> None:
    values = torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.double)

    def largest(p: Tensor) -> float:
        """The distance between the distributions of p and of 1 - p, at the p that are there."""
        at = torch.cat([p, 1 - p])
        below = (p <= at[:, None]).sum(1) - (1 - p <= at[:, None]).sum(1)
        return float(below.abs().max())

    signs = torch.tensor(list(product([-1.0, 1.0], repeat=size))).double()
    others = [largest(0.5 + sign * (values - 0.5)) for sign in signs]
    known = sum(other >= largest(values) for other in others) / len(others)
    assert math.isclose(symmetry_pvalue(values), known, abs_tol=1e-9)
    assert math.isclose(symmetry_pvalue(1 - values), known, abs_tol=1e-9)
