"""Rewards against exact answers: closed forms of linear-Gaussian tables, and enumerated classes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from inference.tasks.acquisition import (
    EDDI,
    FixedOrder,
    Information,
    LookAhead,
    RandomOrder,
    State,
    TargetInformation,
    Variance,
    hypotheses,
)
from ppl_models import InputError
from tests.inference.tasks.acquisition.toys import (
    StatePredictor,
    conditional,
    linear,
    people,
    random_states,
    rows_of,
)

MASKS = torch.tensor([[0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0]]).bool()


def linear_state(num_samples: int = 4096, seed: int = 3) -> tuple[Any, State]:
    predictor = linear()
    x = people(predictor, 3)
    draws = predictor.draws(x, MASKS, num_samples, 1)
    return predictor, State(draws, x, MASKS, seed)


def close(found: Tensor, exact: Tensor, rtol: float, atol: float = 0.0) -> None:
    """Compare the columns that were not measured."""
    for mine, right, mask in zip(found, exact, MASKS, strict=True):
        assert torch.allclose(mine[~mask], right[~mask], rtol=rtol, atol=atol), (mine, right)


def covariances(predictor: Any) -> Tensor:
    return torch.stack([conditional(predictor, mask) for mask in MASKS])


# --- linear-Gaussian: 4,096 quasi-random draws; what is left is the hypothetical values' noise ----


def test_variances_are_those_of_the_conditional_gaussian() -> None:
    predictor, state = linear_state()
    exact = covariances(predictor).diagonal(dim1=1, dim2=2)
    noise = (2 * predictor.model.log_scale).exp().detach()
    close(Variance(units="data")(state), exact, 0.01)
    close(Variance("aleatoric", "data")(state), noise.expand(3, 6), 1e-6)
    close(Variance("epistemic", "data")(state), exact - noise, 0.01)
    standard = exact / predictor.table.spread.square()
    close(Variance()(state), standard, 0.01)


@pytest.mark.parametrize("num_values", [24, 64])
def test_information_about_z_is_half_the_log_of_signal_and_noise_over_noise(
    num_values: int,
) -> None:
    predictor, state = linear_state()
    variance = covariances(predictor).diagonal(dim1=1, dim2=2)
    exact = 0.5 * (variance / (2 * predictor.model.log_scale).exp()).log().detach()
    close(Information(num_values)(state), exact, 0.06)


@pytest.mark.parametrize("units", ["data", "standard"])
def test_look_ahead_gains_what_conditioning_takes_off_the_variances(units: Any) -> None:
    predictor, state = linear_state()
    covariance = covariances(predictor)
    unit = predictor.table.spread.square() if units == "standard" else torch.ones(6)
    variance = covariance.diagonal(dim1=1, dim2=2)
    exact = (covariance.square() / unit[:, None]).sum(1) / variance
    close(LookAhead(units=units, num_values=64)(state), exact, 0.05)


def test_look_ahead_without_noise_keeps_that_of_the_measurement_itself() -> None:
    predictor, state = linear_state()
    covariance, noise = covariances(predictor), (2 * predictor.model.log_scale).exp().detach()
    variance = covariance.diagonal(dim1=1, dim2=2)
    exact = covariance.square().sum(1) / variance - 2 * noise
    close(LookAhead(error="means", units="data", num_values=64)(state), exact, 0.05, 0.03)


def test_look_ahead_about_a_target_is_its_own_reduction_of_variance() -> None:
    predictor, state = linear_state()
    covariance = covariances(predictor)
    exact = covariance[:, 5].square() / covariance.diagonal(dim1=1, dim2=2)
    # small gains, whose noise is that of the largest
    close(LookAhead(["x6"], units="data", num_values=64)(state), exact, 0.06, 0.02)


def target_information(predictor: Any, targets: list[int]) -> Tensor:
    """0.5 log(det of the targets' covariance before, over that after each column)."""
    found = torch.zeros(3, 6, dtype=torch.double)
    for n, mask in enumerate(MASKS):
        for u in set(range(6)) - set(targets):
            if not mask[u]:
                after = mask.clone()
                after[u] = True
                dets = [
                    torch.logdet(conditional(predictor, m)[targets][:, targets])
                    for m in (mask, after)
                ]
                found[n, u] = 0.5 * (dets[0] - dets[1])
    return found


@pytest.mark.parametrize("targets", [[5], [4, 5]])
def test_information_about_targets_is_that_of_their_determinants(targets: list[int]) -> None:
    predictor, state = linear_state(1000)
    exact = target_information(predictor, targets)
    rest = [d for d in range(6) if d not in targets]
    found = TargetInformation(targets, num_values=200)(state)
    for n, mask in enumerate(MASKS):
        kept = [d for d in rest if not mask[d]]
        # of 200 joint values of the targets: a standard error of some 7 %
        assert torch.allclose(found[n, kept], exact[n, kept], rtol=0.15, atol=0.015)


def test_eddi_with_the_exact_posterior_is_the_information_about_the_target() -> None:
    predictor, state = linear_state(1000)
    exact, found = (
        target_information(predictor, [5]),
        EDDI(predictor, ["x6"], num_values=1000)(state),
    )
    for n, mask in enumerate(MASKS):
        kept = [d for d in range(5) if not mask[d]]
        # differences of two KLs of up to 1.5 nats, each a mean over 1,000 values
        assert torch.allclose(found[n, kept], exact[n, kept], rtol=0.1, atol=0.02)


def test_eddi_asks_for_a_posterior_in_closed_form() -> None:
    predictor: Any = random_states()
    with pytest.raises(InputError, match="one with a posterior") as caught:
        EDDI(predictor, [0])
    assert "TargetInformation" in caught.value.cure
    TargetInformation([0])


# --- classes: all sums are finite, so answers are exact -------------------------------------------


def state_of(predictor: StatePredictor, mask: list[bool], row: list[float]) -> State:
    x, known = torch.tensor([row]).double(), torch.tensor([mask])
    return State(predictor.draws(x, known), x, known)


def joint_table(predictor: StatePredictor, mask: list[bool], row: list[float]) -> tuple[Any, ...]:
    """Rows that agree with what was measured, and their probabilities by state (K, rows)."""
    rows, _ = rows_of(predictor)
    agree = torch.ones(len(rows), dtype=torch.bool)
    for d, known in enumerate(mask):
        agree &= (rows[:, d] == row[d]) | (not known)
    rows = rows[agree]
    everything = torch.ones_like(rows, dtype=torch.bool)
    draws = predictor.draws(rows, everything)
    joint = draws.weights * draws.bound.exp()
    return rows, joint / joint.sum()


def entropy(p: Tensor) -> Tensor:
    return -torch.special.xlogy(p, p).sum()


def marginal(rows: Tensor, p: Tensor, columns: list[int]) -> Tensor:
    """The probabilities of the values of some columns together."""
    _, which = rows[:, columns].unique(dim=0, return_inverse=True)
    return torch.zeros(int(which.max()) + 1, dtype=p.dtype).index_add(0, which, p)


CASES = [([False] * 4, [0.0] * 4), ([True, False, False, False], [1.0, 0, 0, 0])]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seed", [0, 1])
def test_information_by_enumeration(case: Any, seed: int) -> None:
    predictor = random_states(seed)
    rows, joint = joint_table(predictor, *case)
    state, p = state_of(predictor, *case), joint.sum(0)
    about_z, about_two = Information(2)(state)[0], TargetInformation([3], num_values=2)(state)[0]
    for u in range(4):
        if case[0][u]:
            continue
        with_state = torch.stack([marginal(rows, part, [u]) for part in joint])
        exact = entropy(marginal(rows, p, [u])) + entropy(joint.sum(1)) - entropy(with_state)
        assert about_z[u].item() == pytest.approx(exact.item(), abs=1e-9)
        if u != 3:
            together = entropy(marginal(rows, p, [u, 3]))
            exact = entropy(marginal(rows, p, [u])) + entropy(marginal(rows, p, [3])) - together
            assert about_two[u].item() == pytest.approx(exact.item(), abs=1e-9)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("targets", [[], [1], [0, 3]])
def test_look_ahead_by_enumeration(case: Any, targets: list[int]) -> None:
    predictor = random_states()
    rows, joint = joint_table(predictor, *case)
    state, p = state_of(predictor, *case), joint.sum(0)
    found = LookAhead(targets, num_values=2)(state)[0]
    coordinates = predictor.table.encode(rows) / predictor.table.spread
    asked = targets or range(4)
    kept = torch.tensor([d in asked for d in range(4)])[predictor.table.owner]

    def expected_error(columns: list[int]) -> float:
        """Of the targets, once these columns are known: by all rows."""
        which = torch.zeros(len(rows))
        if columns:
            which = rows[:, columns].unique(dim=0, return_inverse=True)[1]
        total = 0.0
        for value in which.unique():
            some, weights = coordinates[which == value][:, kept], p[which == value]
            mean = (weights[:, None] * some).sum(0) / weights.sum()
            total += float((weights * (some - mean).square().sum(1)).sum())
        return total

    known = [d for d in range(4) if case[0][d]]
    for u in range(4):
        if u not in known:
            exact = expected_error(known) - expected_error([*known, u])
            assert found[u].item() == pytest.approx(exact, abs=1e-9)


def test_what_no_draw_allows_has_no_worth_and_is_no_nan() -> None:
    log_p = torch.tensor([[[0.0, -torch.inf]] * 2, [[-torch.inf, 0.0]] * 2])
    predictor = StatePredictor(log_p, torch.tensor([0.5, 0.5]), [2, 2])
    state = state_of(predictor, [True, False], [0.0, 0.0])
    for reward in (Variance(), Information(), TargetInformation([1]), LookAhead()):
        assert torch.equal(reward(state)[0, 1], torch.zeros(()).double()), reward.name


# --- orders, and what all rewards share -----------------------------------------------------------


def test_a_fixed_order_is_kept_and_lots_are_of_the_seed_and_the_person() -> None:
    _, state = linear_state(8)
    worth = FixedOrder(["x3", 0])(state)
    assert worth[0].argsort(descending=True).tolist() == [2, 0, 1, 3, 4, 5]
    assert torch.equal(worth[0], worth[2])
    lots = RandomOrder()(state)
    assert not torch.equal(lots[0], lots[1])
    last = State(state.draws.rows(slice(2, 3)), state.x[2:], state.mask[2:], 3, torch.tensor([2]))
    assert torch.equal(RandomOrder()(last)[0], lots[2])
    assert not torch.equal(RandomOrder()(linear_state(8, seed=4)[1]), lots)


REWARDS = [
    Variance(),
    Information(8),
    TargetInformation([5], num_values=8),
    LookAhead(num_values=8),
]


@pytest.mark.parametrize("reward", REWARDS, ids=lambda r: r.name)
def test_blocks_of_people_change_nothing(reward: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, state = linear_state(64)
    whole = reward(state)
    monkeypatch.setattr("inference.tasks.acquisition.hypotheses.BUDGET", 1)
    assert torch.allclose(reward(state), whole, atol=1e-9)
    assert len(list(state.blocks(1))) == 3


def test_bad_settings_say_what_to_do() -> None:
    _, state = linear_state(8)
    for make, cure in (
        (lambda: Variance(of="all"), "total"),  # type: ignore[arg-type]
        (lambda: LookAhead(error="none"), "values"),  # type: ignore[arg-type]
        (lambda: LookAhead(num_values=0), "count"),
        (lambda: Information(0), "count"),
        (lambda: TargetInformation([]), 'targets=["age"]'),
        (lambda: TargetInformation("age"), 'targets=["age"]'),
        (lambda: TargetInformation(["x7"])(state), "did you mean x"),
        (lambda: TargetInformation([9])(state), "6 columns"),
        (lambda: FixedOrder([0, "x1"])(state), "leave out"),
        (lambda: Variance(units="dB")(state), "standard"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError) as caught:
            make()
        assert cure in caught.value.cure, caught.value


def test_values_stand_for_strata_of_equal_weight() -> None:
    samples = torch.arange(100.0).double()[:, None, None]
    weights = torch.zeros(100, 1).double()
    weights[50:] = 1 / 50
    found = hypotheses.stratified(samples, weights, 10, seed=0)[0, :, 0]
    low = torch.arange(50, 100, 5)
    assert ((found >= low) & (found < low + 5)).all()
