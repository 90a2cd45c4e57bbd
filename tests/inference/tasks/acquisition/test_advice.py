"""Advice to one person, against the exact answers of a linear model."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from inference.tasks.acquisition import (
    Advice,
    FixedOrder,
    Information,
    LookAhead,
    PairPredictor,
    PPCAPredictor,
    TargetInformation,
    Variance,
    advise,
)
from ppl_models.errors import InputError
from tests.inference.table_runs import COLUMNS, DESIGN, NAMES, rows
from tests.inference.tasks.acquisition.toys import conditional, linear, people

SAMPLES = 4096


def known(*places: int, dim: int = 6) -> Tensor:
    return torch.tensor([d in places for d in range(dim)])


def exact(predictor: PPCAPredictor, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The predictive mean (D,) and covariance (D, D) given the measured columns."""
    model = predictor.model
    w, noise = model.weight.detach(), (2 * model.log_scale.detach()).exp()
    full, held = w @ w.T + noise * torch.eye(len(w), dtype=w.dtype), mask.nonzero().squeeze(1)
    mean = model.mean.detach().clone()
    if len(held):
        step = torch.linalg.solve(full[held][:, held], x[held] - mean[held])
        mean = mean + full[:, held] @ step
    return torch.where(mask, x, mean), conditional(predictor, mask)


@pytest.mark.parametrize("places", [(), (0,), (1, 4)])
def test_mean_interval_gain_and_error_are_those_of_the_linear_model(places: tuple[int]) -> None:
    predictor, mask = linear(), known(*places)
    x = torch.where(mask, people(predictor, 1, seed=3)[0], torch.nan)
    found = advise(predictor, x, mask, num_samples=SAMPLES)
    mean, covariance = exact(predictor, x.nan_to_num(), mask)
    sd = covariance.diagonal().sqrt()
    unit = predictor.table.spread
    total = (sd / unit).square().sum()
    # measuring u takes away cov(e, u)^2 / var(u) of the variance of e, all of it of u itself
    gains = ((covariance / unit[:, None]).square() / sd.square()).nan_to_num().sum(0) / total
    for d, told in enumerate(found.columns):
        assert told.name == f"x{d + 1}" and told.measured == bool(mask[d])
        assert told.probability is None
        if told.measured:
            assert told.value == x[d] and told.gain == 0 and told.low is told.high is None
            continue
        assert told.low is not None and told.high is not None
        centre, width = float(mean[d]), float(sd[d])
        # quasi-random draws: far closer than 4096 independent ones
        assert told.value == pytest.approx(centre, abs=0.02 * width)
        assert told.low == pytest.approx(centre - 1.2816 * width, abs=0.08 * width)
        assert told.high == pytest.approx(centre + 1.2816 * width, abs=0.08 * width)
        # 24 values stand for all that a column may turn out to be: their variance is 6 % less
        assert told.gain == pytest.approx(float(gains[d]), rel=0.1, abs=0.005)
    assert found.rmse == pytest.approx(float(total / 6) ** 0.5, rel=0.02)
    assert found.next is not None  # two columns are worth nearly the same
    assert gains[int(found.next[1:]) - 1] > 0.95 * gains.max()


def test_how_sure_one_is_of_one_column_is_a_normal_s_probability() -> None:
    predictor, mask = linear(), known(0, 1, 2, 3, 4)
    x = people(predictor, 1)[0]
    found = advise(predictor, x, mask, num_samples=SAMPLES)
    sd = conditional(predictor, mask)[5, 5].sqrt() / predictor.table.spread[5]
    assert found.next == "x6" and found["x6"].gain == 1
    for times in (0.5, 1.0, 2.0):
        threshold = float(times * sd / math.sqrt(6))
        wanted = math.erf(times / math.sqrt(2))
        assert found.sure(threshold) == pytest.approx(wanted, abs=0.03)  # 2 s.e. are 0.016
    assert found.sure(1e9) == pytest.approx(1) and found.sure(0.0) == 0


def test_everything_measured_leaves_nothing_to_do() -> None:
    predictor = linear()
    x = people(predictor, 1)[0]
    found = advise(predictor, x, known(*range(6)))
    assert found.next is None and found.rmse == 0 and found.sure(1e-9) == pytest.approx(1)
    assert [told.value for told in found.columns] == x.tolist()
    assert all(told.measured and told.gain == 0 for told in found.columns)


def test_what_stands_where_nothing_was_measured_reaches_nothing() -> None:
    predictor, mask = linear(), known(2)
    x = people(predictor, 1)[0]
    other = torch.where(mask, x, torch.nan)
    one, two = advise(predictor, x, mask), advise(predictor, other, mask)
    assert one.columns == two.columns and torch.equal(one.errors[0], two.errors[0])


def test_a_reward_decides_what_is_next_and_gains_stay_those_of_the_error() -> None:
    predictor, mask = linear(), known()
    x = people(predictor, 1)[0]
    plain = advise(predictor, x, mask)
    for name in ("x5", "x2"):
        found = advise(predictor, x, mask, reward=FixedOrder([name]))
        assert found.next == name and found.columns == plain.columns
    in_data = advise(predictor, x, mask, reward=Variance(units="data"))
    assert in_data.next == f"x{int(conditional(predictor, mask).diagonal().argmax()) + 1}"
    assert advise(predictor, x, mask, reward=Information()).next is not None


def test_a_look_ahead_of_the_user_s_decides_by_its_own_settings() -> None:
    predictor, mask = linear(), known()
    with torch.no_grad():
        predictor.model.weight[0] = 0  # all noise: of no use but to know itself
        predictor.model.log_scale.fill_(1.5)
    predictor.table.spread[0] = 1e-3  # and so the largest error in standard units
    x = people(predictor, 1)[0]
    assert advise(predictor, x, mask).next == "x1"
    for reward in (LookAhead(error="means"), LookAhead(units="data", error="means")):
        assert advise(predictor, x, mask, reward=reward).next != "x1"


def test_targets_are_not_measured_and_only_what_tells_of_them_is() -> None:
    predictor, mask = linear(), known()
    x = people(predictor, 1)[0]
    covariance = conditional(predictor, mask)
    tells = (covariance[5] / covariance.diagonal().sqrt()).square()[:5]
    for reward in (LookAhead(["x6"]), TargetInformation(["x6"])):
        found = advise(predictor, x, mask, reward=reward, num_samples=SAMPLES)
        assert found.next == f"x{int(tells.argmax()) + 1}"
        last = advise(predictor, x, known(0, 1, 2, 3, 4), reward=reward)
        assert last.next is None and not last["x6"].measured


def test_only_columns_that_can_be_measured_are_advised() -> None:
    predictor, mask = linear(), known(0)
    x = people(predictor, 1)[0]
    assert advise(predictor, x, mask, acquirable=("x3",)).next == "x3"
    assert advise(predictor, x, mask, acquirable=(2, "x1")).next == "x3"
    assert advise(predictor, x, mask, acquirable=("x1",)).next is None
    with pytest.raises(InputError, match="acquirable: saw 'x9'"):
        advise(predictor, x, mask, acquirable=("x9",))


def test_seeds_and_numbers_of_draws_are_what_was_asked_for() -> None:
    predictor, mask = linear(), known(1)
    x = people(predictor, 1)[0]

    def values(**more: int) -> list[float]:
        return [told.value for told in advise(predictor, x, mask, **more).columns]

    assert values(seed=1) == values(seed=1) != values(seed=2)
    assert len(advise(predictor, x, mask, num_samples=7).errors[0]) == 7


# -- columns of all kinds --------------------------------------------------------------------------


def mixed() -> PairPredictor:
    model, guide = DESIGN.pair()
    model.start_from(*rows(200))
    return PairPredictor(model, guide)


def test_columns_of_classes_are_told_by_their_most_probable_class() -> None:
    predictor = mixed()
    with torch.no_grad():
        for part in (predictor.model.line, predictor.model.decoder[-1]):
            part.weight.zero_()
            part.bias.zero_()
    found = advise(predictor, torch.full((7,), torch.nan), known(dim=7), num_samples=2000)
    x, mask = rows(200)
    for name in ("sex", "blood", "pain"):
        seen = x[mask[:, NAMES.index(name)], NAMES.index(name)]
        shares = torch.bincount(seen.long()) / len(seen)
        told = found[name]
        assert told.value == int(shares.argmax()) and told.low is told.high is None
        # frequencies of training, a little smoothed; 2000 draws
        assert told.probability == pytest.approx(float(shares.max()), abs=0.04)
    for name in ("age", "crp", "visits", "r500"):
        told = found[name]
        assert told.low < told.value < told.high and told.probability is None
    assert found["r500"].high <= COLUMNS[6].upper and found["crp"].low > 0


def test_measured_classes_are_told_by_their_codes() -> None:
    x, mask = rows(1, missing=0.0)
    found = advise(mixed(), x[0], mask[0])
    assert [told.value for told in found.columns] == x[0].tolist() and found.next is None


# -- wrong input -----------------------------------------------------------------------------------


def test_what_is_not_one_person_s_is_named_and_the_cure_works() -> None:
    predictor = linear()
    x, mask = people(predictor, 2), torch.ones(2, 6, dtype=torch.bool)
    for wrong, argument in (((x, mask[0]), "x"), ((x[0], mask), "mask")):
        with pytest.raises(InputError, match=f"{argument}: .*\n.*\n.*x\\[0\\], mask\\[0\\]"):
            advise(predictor, *wrong)
    assert isinstance(advise(predictor, x[0], mask[0]), Advice)
    with pytest.raises(InputError, match=r"mask = ~x\.isnan\(\)"):
        advise(predictor, x[0], mask[0].float())
    x[0, 1] = torch.nan
    with pytest.raises(InputError, match=r"mask = x\.isfinite\(\)"):
        advise(predictor, x[0], mask[0])
    advise(predictor, x[0], x[0].isfinite())
