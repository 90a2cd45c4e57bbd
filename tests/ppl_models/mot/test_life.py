from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from inference.randomness import seeded
from ppl_models.distributions import MarkovPath
from ppl_models.errors import InputError
from ppl_models.mot import GONE, HIDDEN, NEVER, NOT_YET, SEEN, Life, Lives, infer_lives

BUSY = Life(births=0.3, alive=0.8, death=0.1, hide=0.2, hide_behind=0.7, show=0.4)


def chain(length: int = 5, batch: tuple[int, ...] = (2, 3)) -> tuple[Tensor, Tensor, Tensor]:
    """A chain of three slots with evidence, each with occlusions and births of its own."""
    behind = torch.rand(*batch, length).double()
    border = 2 * torch.rand(*batch, length).double()
    steps = BUSY.transition(3, length, behind=behind, border=border)
    evidence = 3 * torch.randn(*batch, length, 4).double()
    return BUSY.initial(3, behind), steps, evidence


def brute_force(initial: Tensor, steps: Tensor, evidence: Tensor) -> tuple[Tensor, Tensor]:
    """Log evidence and marginals of one chain, by a sum over all 4^T paths."""
    length = len(evidence)
    paths = torch.tensor(list(itertools.product(range(4), repeat=length)))
    scores = initial[paths[:, 0]] + evidence[torch.arange(length), paths].sum(-1)
    for t in range(length - 1):
        scores = scores + steps[t, paths[:, t], paths[:, t + 1]]
    weight = (scores - scores.logsumexp(0)).exp()
    states = (weight[:, None, None] * (paths[..., None] == torch.arange(4))).sum(0)
    return scores.logsumexp(0), states


def test_forward_and_backward_are_the_sum_over_all_lives() -> None:
    with seeded(0):
        initial, steps, evidence = chain()
    lives = infer_lives(initial, steps, evidence)
    assert lives.states.shape == (2, 3, 5, 4) and lives.pairs.shape == (2, 3, 4, 4, 4)
    for i, j in itertools.product(range(2), range(3)):
        total, states = brute_force(initial, steps[i, j], evidence[i, j])
        assert torch.allclose(lives.log_evidence[i, j], total, atol=1e-10)
        assert torch.allclose(lives.states[i, j].exp(), states, atol=1e-10)
    assert torch.allclose(lives.pairs.logsumexp(-1), lives.states[..., :-1, :], atol=1e-9)
    assert torch.allclose(lives.pairs.logsumexp(-2), lives.states[..., 1:, :], atol=1e-9)


def test_the_gradient_of_the_evidence_is_the_marginal() -> None:
    with seeded(1):
        initial, steps, evidence = chain()
    evidence.requires_grad_()
    lives = infer_lives(initial, steps, evidence)
    [gradient] = torch.autograd.grad(lives.log_evidence.sum(), [evidence])
    assert torch.allclose(gradient, lives.states.exp(), atol=1e-10)


def test_one_frame_has_no_steps() -> None:
    evidence = torch.zeros(1, 4).double()
    lives = infer_lives(BUSY.initial(3, evidence), BUSY.transition(3, 1), evidence)
    assert lives.pairs.shape == (0, 4, 4) and lives.log_evidence.abs() < 1e-12
    assert torch.allclose(lives.present, torch.tensor([0.8 / 3]).double())


@pytest.mark.parametrize("length", [1, 2, 40])
def test_rows_sum_to_one(length: int) -> None:
    behind = torch.linspace(0, 1, length).double()
    steps = BUSY.transition(20, length, behind=behind)
    assert torch.allclose(steps.exp().sum(-1), torch.ones(length - 1, 4).double())
    assert torch.allclose(BUSY.initial(20).exp().sum(), torch.ones(()))


def test_a_slot_is_born_in_any_frame_alike() -> None:
    """p(born in t) = births / N in each frame after the first, as the hazard makes it."""
    life, slots, length = Life(births=0.2, alive=3.0, death=0.0), 12, 30
    like = torch.zeros(length).double()
    steps = life.transition(slots, length, behind=like)
    state, born = life.initial(slots, like).exp(), []
    for step in steps.exp():
        before = state[NOT_YET]
        state = state @ step
        born.append(before - state[NOT_YET])
    assert torch.allclose(torch.stack(born), torch.full((length - 1,), 0.2 / slots).double())
    present = slots * (state[SEEN] + state[HIDDEN])
    assert present.item() == pytest.approx(life.objects(length)) == pytest.approx(3.0 + 29 * 0.2)


def test_drawn_lives_have_the_expected_births_and_lengths() -> None:
    """20,000 slots of 60 frames, to 5 standard errors."""
    life, length, slots = Life(births=0.1, alive=2.0, death=0.05, hide=0.1, show=0.3), 60, 10
    with seeded(2):
        path = MarkovPath(life.initial(slots), life.transition(slots, length)).sample((20_000,))
    there = (path == SEEN) | (path == HIDDEN)
    used = there.any(-1).double()
    expected = life.objects(length) / slots
    assert abs(used.mean() - expected) < 5 * math.sqrt(expected / 20_000)
    early = there[:, :15] & (
        torch.arange(15) > 0
    )  # alive before, or born then: ends are rarely cut
    first = (there.cumsum(-1) == 1) & there
    begin = first[:, :15].any(-1)
    assert early.any()
    lengths = there[begin].sum(-1).double()
    start = first[begin].double().argmax(-1)
    most = 0.95 ** (length - start).double()
    expected_length = ((1 - most) / 0.05).mean()  # geometric, cut at the end
    error = lengths.std() / math.sqrt(len(lengths))
    assert abs(lengths.mean() - expected_length) < 5 * error
    hidden = (path == HIDDEN).sum() / there.sum()
    assert abs(hidden - 0.25) < 0.03  # 0.1 / (0.1 + 0.3), nearly; births start with 0.1


def test_an_object_behind_others_hides_more_and_comes_out_less() -> None:
    steps = BUSY.step(torch.tensor(0.1).double(), torch.tensor([0.0, 1.0]).double()).exp()
    assert steps[0, SEEN, HIDDEN].item() == pytest.approx(0.9 * 0.2)
    assert steps[1, SEEN, HIDDEN].item() == pytest.approx(0.9 * 0.7)
    assert steps[0, HIDDEN, SEEN].item() == pytest.approx(0.9 * 0.4)
    assert steps[1, HIDDEN, SEEN].item() == pytest.approx(0.9 * 0.4 * 0.3 / 0.8)
    assert steps[0, NOT_YET, SEEN].item() == pytest.approx(0.1 * 0.8)


def test_all_present_always_is_a_life_too() -> None:
    life = Life(births=0.0, alive=3.0, death=0.0, hide=0.0)
    steps = life.transition(3, 6)
    lives = infer_lives(life.initial(3), steps, torch.randn(6, 4))
    assert isinstance(lives, Lives)
    assert torch.allclose(lives.seen, torch.ones(6)) and torch.allclose(lives.present, lives.seen)


def test_no_evidence_makes_what_cannot_be() -> None:
    """A detection that only a dead object could have given does not bring it back."""
    evidence = torch.zeros(4, 4)
    evidence[:, SEEN] = torch.tensor([0.0, -300.0, -300.0, 300.0])
    life = Life(births=0.0, alive=1.0, death=0.5, hide=0.0, show=0.0)
    lives = infer_lives(life.initial(1), life.transition(1, 4), evidence)
    assert lives.states[-1, NOT_YET] < NEVER / 2
    assert (lives.pairs[:, GONE, SEEN] < NEVER / 4).all()
    assert torch.isfinite(lives.states).all()


def test_slots_that_are_too_few_are_named_with_the_cure() -> None:
    life = Life(births=0.5, alive=2.0)
    with pytest.raises(InputError, match=r"slots: saw 5, while 6.5 .*(?s:.)*7 rows"):
        life.hazard(5, 10)
    assert life.hazard(7, 10, torch.zeros(()).double()).dtype == torch.float64


@pytest.mark.parametrize(
    "wrong",
    [
        {"births": -0.1},
        {"births": math.inf},
        {"alive": math.nan},
        {"death": 1.5},
        {"hide": -0.1},
        {"hide_behind": 2.0},
        {"hide_behind": 0.01},
        {"show": 1.1},
        {"detection": 1.0},
        {"rate": -1.0},
        {"border": 0.5},
    ],
)
def test_constants_out_of_range_are_errors(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Life(**wrong)
