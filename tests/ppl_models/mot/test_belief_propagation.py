from __future__ import annotations

import math

import pytest
import torch
from pyro.contrib.tracking.assignment import compute_marginals_persistent_bp
from torch import Tensor
from torch.nn.functional import softplus

from inference.randomness import seeded
from ppl_models.mot import Life, infer_lives, matchings, propagate_beliefs


def brute_force(log_odds: Tensor, log_not: Tensor) -> tuple[Tensor, Tensor]:
    """Marginals (..., N, K) and log partition (...), by the sum over all matchings."""
    objects, places = log_odds.shape[-2:]
    w = matchings(objects, places)
    used = (w[:, None] == torch.arange(objects)[:, None]).double()  # (M, N, K)
    pairs = torch.where(used > 0, log_odds[..., None, :, :], 0.0).sum((-1, -2))
    scores = pairs + (log_not[..., None, :] * (1 - used.sum(-1))).sum(-1)
    total = scores.logsumexp(-1)
    weight = (scores - total[..., None]).exp()
    return (weight[..., None, None] * used).sum(-3), total


def frames(objects: int, places: int, spread: float, size: int = 300) -> tuple[Tensor, Tensor]:
    log_odds = spread * torch.randn(size, objects, places).double()
    return log_odds, torch.rand(size, objects).double().log()


@pytest.mark.parametrize(("objects", "places"), [(1, 4), (4, 1), (1, 1)])
def test_trees_are_exact(objects: int, places: int) -> None:
    with seeded(0):
        given = frames(objects, places, 3.0)
    beliefs = propagate_beliefs(*given)
    marginals, total = brute_force(*given)
    assert torch.allclose(beliefs.marginals, marginals, atol=1e-12)
    assert torch.allclose(beliefs.log_partition, total, atol=1e-10)


@pytest.mark.parametrize(("size", "spread"), [(2, 1.0), (2, 3.0), (3, 1.0), (3, 3.0), (4, 3.0)])
def test_loops_are_near(size: int, spread: float) -> None:
    """Random odds, far more ambiguous than boxes: 0.02 on average, 0.35 at worst (seen: .31)."""
    with seeded(1):
        given = frames(size, size, spread)
    beliefs = propagate_beliefs(*given, tolerance=1e-10)
    marginals, total = brute_force(*given)
    error = (beliefs.marginals - marginals).abs()
    assert error.mean() < 0.021 and error.max() < 0.35
    assert (beliefs.log_partition <= total + 1e-9).all()  # a lower bound, in every case tried
    assert (total - beliefs.log_partition).max() < 0.6


def test_boxes_that_are_told_apart_are_exact_to_a_per_mille() -> None:
    """Each object's own detection is 8 nats likelier than others'."""
    with seeded(2):
        log_odds, log_not = frames(4, 4, 1.0)
    log_odds = log_odds + 8 * torch.eye(4)
    beliefs = propagate_beliefs(log_odds, log_not)
    assert (beliefs.marginals - brute_force(log_odds, log_not)[0]).abs().max() < 5e-3


def test_both_sides_agree_on_what_is_left() -> None:
    with seeded(3):
        given = frames(3, 5, 2.0)
    beliefs = propagate_beliefs(*given, tolerance=1e-9)
    assert torch.allclose(
        beliefs.marginals.sum(-1) + beliefs.undetected, torch.ones(300, 3).double()
    )
    rest = beliefs.marginals.sum(-2) + beliefs.clutter
    assert torch.allclose(rest, torch.ones(300, 5).double(), atol=1e-6)


def test_it_is_that_of_pyro() -> None:
    """An object that may not exist: q = 1 + e^exists, psi = e^(exists + assign)."""
    with seeded(4):
        exists, assign = torch.randn(3).double(), 2 * torch.randn(4, 3).double()
    _, logits = compute_marginals_persistent_bp(exists, assign[None], 200)
    expected = torch.cat([logits[0], torch.zeros(4, 1)], -1).softmax(-1)[:, :3].T
    ours = propagate_beliefs(exists[:, None] + assign.T, softplus(exists), tolerance=1e-10)
    assert torch.allclose(ours.marginals, expected, atol=1e-5)


def test_masked_pairs_are_not_read_and_frames_do_not_meet() -> None:
    with seeded(5):
        log_odds, log_not = frames(3, 4, 2.0, size=6)
        mask = torch.rand(6, 3, 4) < 0.6
    together = propagate_beliefs(log_odds.masked_fill(~mask, math.nan), log_not, mask)
    assert (together.marginals[~mask] == 0).all()
    for i in range(6):
        alone = propagate_beliefs(log_odds[i].masked_fill(~mask[i], -math.inf), log_not[i])
        assert torch.allclose(alone.marginals, together.marginals[i], atol=1e-6)


def test_limits_are_exact() -> None:
    sure = torch.full((2, 2), -math.inf).double().fill_diagonal_(500.0)
    beliefs = propagate_beliefs(sure, torch.full((2,), -500.0).double())
    assert torch.allclose(beliefs.marginals, torch.eye(2).double())
    never = propagate_beliefs(torch.full((2, 3), -math.inf), torch.tensor([-0.1, -0.2]))
    assert never.marginals.max() == 0 and never.log_partition.item() == pytest.approx(-0.3)
    assert (never.messages.abs() < 1e-6).all()
    for shape in ((0, 3), (3, 0), (0, 0)):
        empty = propagate_beliefs(torch.zeros(5, *shape), torch.zeros(5, shape[0]))
        assert empty.marginals.shape == (5, *shape) and (empty.log_partition == 0).all()


def test_steps_are_bounded() -> None:
    alike = propagate_beliefs(torch.full((3, 3), 9.0), torch.full((3,), -9.0), most_steps=6)
    assert alike.steps == 6 and torch.isfinite(alike.log_partition)


def test_a_message_is_what_the_others_leave() -> None:
    """Of two objects and one detection (a tree): nu_n = 1 / (1 + psi_m / q_m)."""
    log_odds, log_not = torch.tensor([[2.0], [0.5]]), torch.tensor([-1.0, -2.0])
    messages = propagate_beliefs(log_odds, log_not).messages[:, 0]
    assert messages[0].item() == pytest.approx(-math.log1p(math.exp(0.5 + 2.0)))
    assert messages[1].item() == pytest.approx(-math.log1p(math.exp(2.0 + 1.0)))


def test_with_one_object_messages_and_chain_give_the_whole_evidence() -> None:
    """Matchings summed by messages, lives by the chain: the exact evidence of one object."""
    life, length, clutter = Life(births=0.05, alive=0.3, death=0.1, hide=0.2, show=0.3), 5, 0.8
    with seeded(6):
        likelihood = 3 * torch.randn(length, 1, 3).double()  # log N(o_k; box) / u(o_k)
    p = life.detection
    log_odds = likelihood + math.log(p / clutter)
    log_not = torch.full((length, 1), math.log(1 - p)).double()
    beliefs = propagate_beliefs(log_odds, log_not)
    terms = torch.cat([log_odds + beliefs.messages, log_not[..., None]], -1)
    seen = terms.logsumexp(-1)[:, 0]
    evidence = torch.zeros(length, 4).double()
    evidence[:, 1] = seen
    steps = life.transition(1, length, behind=torch.zeros(length).double())
    found = infer_lives(life.initial(1, evidence), steps, evidence).log_evidence
    expected = evidence.new_zeros(4) + life.initial(1, evidence)
    for t in range(length):
        direct = math.log(1 - p + (likelihood[t, 0].exp() * p / clutter).sum().item())
        expected[1] = expected[1] + direct
        if t < length - 1:
            expected = (expected[:, None] + steps[t]).logsumexp(0)
    assert found.item() == pytest.approx(expected.logsumexp(0).item())
