"""Draws of posteriors: exact where they can be, of nobody else's business, blind to gaps."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import nn

from guides.acquisition import PartialVAEGuide
from inference.tasks.acquisition import (
    EDDI,
    ArchetypePredictor,
    Information,
    LookAhead,
    PairPredictor,
    PPCAPredictor,
    ProcessPredictor,
    RealTable,
    State,
    TargetInformation,
    Variance,
    acquire,
)
from inference.tasks.acquisition.predictor import check_people, filled
from ppl_models import PPCA, InputError
from ppl_models.acquisition import ArchetypalAudiogram, GPAudiogram, PartialVAE
from ppl_models.data import audiograms
from ppl_models.likelihoods import Column, Columns
from tests.inference.tasks.acquisition.toys import linear, people, random_states, rows_of

KINDS = [
    Column("real"),
    Column("positive", "positive"),
    Column("count", "count"),
    Column("binary", "binary"),
    Column("class", "categorical", levels=("a", "b", "c")),
    Column("level", "ordinal", levels=("low", "middle", "high")),
    Column("limit", "censored", upper=1.0),
]


def mixed_pair(weighted: bool = True) -> PairPredictor:
    torch.manual_seed(0)
    model = PartialVAE(7, 3, likelihood=Columns(KINDS))
    with torch.no_grad():
        model.decoder[-1].weight.mul_(3)  # so that columns depend on z
    return PairPredictor(model, PartialVAEGuide(model), weighted)


def mixed_rows(size: int) -> torch.Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return mixed_pair().model(size=size).detach()


def linear_pair(weighted: bool) -> tuple[PairPredictor, PPCA]:
    """A decoder that is linear, of noise 1, and a guide that knows nothing."""
    model = PartialVAE(4, 2, decoder=nn.Linear(2, 8)).double()
    exact = PPCA(4, 2).double()
    with torch.no_grad():
        model.decoder.weight[4:].zero_()
        model.decoder.bias[4:].zero_()
        exact.weight.copy_(model.decoder.weight[:4])
        exact.mean.copy_(model.decoder.bias[:4])

    def posterior(x: torch.Tensor, mask: torch.Tensor) -> dist.Normal:
        zero = torch.zeros(len(x), 2, dtype=x.dtype)
        return dist.Normal(zero, zero + 1)

    return PairPredictor(model, SimpleNamespace(posterior=posterior), weighted), exact


def test_weights_turn_any_guide_s_draws_into_the_posterior() -> None:
    predictor, exact = linear_pair(weighted=True)
    x, mask = torch.randn(5, 4).double(), torch.rand(5, 4) < 0.6
    draws = predictor.draws(x, mask, 8192, 0)
    q = exact.posterior(x, mask)
    assert torch.allclose(draws.average(draws.z), q.mean, atol=0.02)
    spread = draws.average((draws.z - q.mean).square())
    assert torch.allclose(spread, q.variance, atol=0.03)
    assert torch.allclose(draws.weights.sum(0), torch.ones(5).double())
    word = linear_pair(weighted=False)[0].draws(x, mask, 8192, 0)
    assert (word.weights == 1 / 8192).all()
    assert torch.allclose(word.effective_size, torch.tensor(8192.0).double())
    assert (draws.effective_size[mask.any(1)] < 8192).all()
    assert torch.allclose(word.average(word.z), torch.zeros(5, 2).double(), atol=0.01)


def test_the_partial_bound_is_below_the_evidence_and_reaches_it_with_the_posterior() -> None:
    predictor, exact = linear_pair(weighted=True)
    x, mask = torch.randn(5, 4).double(), torch.rand(5, 4) < 0.6
    assert (predictor.draws(x, mask, 4096, 0).bound <= exact.evidence(x, mask) + 0.02).all()
    q = exact.posterior(x, mask)
    # with W's columns orthogonal of what was measured, the posterior is diagonal: one column
    single = torch.zeros_like(mask)
    q = exact.posterior(x, single)
    predictor.guide.posterior = lambda *data: dist.Normal(q.mean, q.variance.sqrt())
    assert torch.allclose(predictor.draws(x, single, 64, 0).bound, torch.zeros(5).double())


@pytest.mark.parametrize("make", [mixed_pair, linear])
def test_a_person_s_draws_do_not_depend_on_who_else_is_asked_about(make: Any) -> None:
    predictor = make()
    dtype = torch.double if make is linear else torch.float
    x = (people(predictor, 8) if make is linear else mixed_rows(8)).to(dtype)
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    whole = predictor.draws(x, mask, 40, 5)
    part = predictor.draws(x[3:6], mask[3:6], 40, 5)
    for mine, other in ((part.raw, whole.raw), (part.weights, whole.weights)):
        assert torch.allclose(mine, other[:, 3:6], atol=1e-5)
    values = whole.sample_columns(2)
    assert torch.allclose(part.sample_columns(2), values[:, 3:6], atol=1e-4)
    assert not torch.equal(whole.sample_columns(3), values)
    gain = LookAhead()(State(whole, x, mask))
    assert torch.allclose(LookAhead()(State(part, x[3:6], mask[3:6])), gain[3:6], atol=1e-3)


def test_what_was_not_measured_reaches_nothing() -> None:
    predictor = mixed_pair()
    x = mixed_rows(6)
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    mask[0] = False
    first = predictor.draws(x, mask, 20, 0)
    second = predictor.draws(x.masked_fill(~mask, torch.nan), mask, 20, 0)
    assert torch.equal(first.raw, second.raw) and torch.equal(first.weights, second.weights)
    assert torch.equal(first.bound, second.bound)
    assert torch.allclose(first.weights[:, 0], torch.tensor(1 / 20))  # nothing known: the prior
    assert first.bound[0].abs() < 1e-5


@pytest.mark.parametrize("name", ["variance", "information", "target", "eddi", "lookahead"])
@pytest.mark.parametrize("weighted", [True, False])
def test_every_reward_walks_through_a_table_of_all_kinds_with_gaps(
    name: str, weighted: bool
) -> None:
    predictor, x = mixed_pair(weighted), mixed_rows(4)
    exists = torch.rand(x.shape, generator=torch.Generator().manual_seed(2)) < 0.8
    reward: Any = {
        "variance": Variance(),
        "information": Information(),
        "target": TargetInformation(["class", "limit"]),
        "eddi": EDDI(predictor, ["class", "limit"], num_values=5),
        "lookahead": LookAhead(),
    }[name]
    x = x.masked_fill(~exists, torch.nan)
    curve = acquire(predictor, x, reward, mask=exists, num_samples=20)
    for values in (curve.rmse, curve.nll, curve.variance, curve.bound, curve.quantiles):
        assert values.isfinite().all()
    may = exists.clone()
    may[:, [4, 6]] &= name not in ("target", "eddi")
    assert torch.equal((curve.order >= 0).sum(1), may.sum(1))


def test_draws_of_every_kind_of_column_have_its_distribution() -> None:
    """4,096 even draws of one z: means to 2 % of a standard deviation, shares of classes to 1 %."""
    predictor = mixed_pair()
    z = torch.tensor([0.5, -1.0, 0.3]).expand(4096, 1, 3)
    draws = predictor.draws(torch.zeros(1, 7), torch.zeros(1, 7, dtype=torch.bool), 4096, 0)
    raw = predictor.model.raw(z).detach()
    fixed = type(draws)(draws.table, raw, draws.weights, draws.bound, z)
    values = fixed.sample_columns(1)[:, 0]
    found = draws.table.encode(values)
    mean, variance = (part[0, 0] for part in fixed.moments)
    assert torch.allclose(found.mean(0), mean, atol=0.02 * float(variance.sqrt().max()))
    assert torch.allclose(found.var(0) / variance, torch.ones(9), atol=0.15)
    columns = draws.table.distribution(raw[:5, 0])
    counts = torch.arange(5.0)
    rows = values[:1].repeat(5, 1)
    rows[:, 2] = counts
    exact = columns.log_prob(rows).detach()[:, 2].exp()
    share = (values[:, 2:3] == counts).float().mean(0)
    assert torch.allclose(share, exact, atol=0.01)
    at_limit = (values[:, 6] == 1.0).float().mean()
    tail = columns.log_prob(torch.ones(5, 7)).detach()[0, 6].exp()
    assert at_limit.item() == pytest.approx(tail.item(), abs=0.01) and 0.01 < tail < 0.99


def test_the_linear_predictor_has_the_mean_and_the_bound_of_ppca() -> None:
    predictor = linear()
    x = people(predictor, 4)
    mask = torch.rand(4, 6, generator=torch.Generator().manual_seed(0)) < 0.5
    draws = predictor.draws(x, mask, 4096, 0)
    exact = predictor.model.decode(predictor.model.posterior(x, mask).mean)
    assert torch.allclose(draws.expected, exact, atol=0.01)
    assert torch.equal(draws.bound, predictor.model.evidence(x, mask))
    own = torch.arange(1.0, 7).double()
    other = PPCAPredictor(predictor.model, list("abcdef"), own)
    assert other.table.names == tuple("abcdef") and torch.equal(other.table.spread, own)


def test_the_oracle_predicts_what_the_generator_s_posterior_says() -> None:
    data = audiograms(20, seed=0)
    model = ArchetypalAudiogram(data.archetypes)
    sd = torch.arange(1.0, 16)
    predictor = ArchetypePredictor(model, [f"c{d}" for d in range(15)], sd)
    assert predictor.table.names[3] == "c3" and torch.equal(predictor.table.spread, sd)
    mask = torch.rand(data.x.shape, generator=torch.Generator().manual_seed(0)) < 0.3
    draws = predictor.draws(data.x, mask, 1500, 2)
    mean, variance = model.predict(model.ideal(data.x, mask, num_samples=1500, seed=2))
    assert torch.allclose(draws.expected.double(), mean, atol=1e-3)
    total = draws.aleatoric + draws.epistemic
    assert torch.allclose(total.double(), variance, rtol=1e-3)
    truth = ArchetypePredictor(model).table.spread
    y = model(size=1).detach(), audiograms(4000, seed=0).x.std(0)
    assert torch.allclose(truth, y[1], rtol=0.06)  # 4,000 people: 1 % each, and their tails


def test_two_ears_are_two_processes_and_age_is_by_itself() -> None:
    ear = GPAudiogram()
    mean, sd = torch.cat([torch.full((14,), 30.0), torch.tensor([55.0])]), torch.full((15,), 20.0)
    groups = [list(range(7)), list(range(7, 14))]
    names = [f"c{d}" for d in range(15)]
    predictor = ProcessPredictor([ear], groups, mean, sd, names)
    assert predictor.table.names[14] == "c14"
    x, mask = torch.full((2, 15), 60.0), torch.zeros(2, 15, dtype=torch.bool)
    mask[1, 2] = True
    draws = predictor.draws(x, mask, 4096, 0)
    left = ear.predict(x[:, :7], mask[:, :7])
    assert torch.allclose(draws.expected[:, :7], left.mean, atol=0.2)
    noise = (2 * ear.log_noise).exp()
    total = draws.epistemic + draws.aleatoric
    assert torch.allclose(total[:, :7], left.variance + noise, rtol=0.02)
    assert torch.allclose(
        draws.expected[0, 7:], draws.expected[1, 7:]
    )  # the other ear learns nothing
    assert draws.expected[0, 14] == 55 and torch.allclose(total[0, 14], sd[14] ** 2)
    assert torch.allclose(draws.bound, ear.evidence(x[:, :7], mask[:, :7]), atol=1e-4)
    for bad in ([[0, 1]], [list(range(7)), list(range(6, 13))]):
        with pytest.raises(InputError, match="groups"):
            ProcessPredictor([ear], bad, mean, sd)
    with pytest.raises(InputError, match="sd"):
        ProcessPredictor([ear], groups, mean, 0 * sd)


def test_draws_by_enumeration_are_the_posterior() -> None:
    predictor = random_states()
    rows, p = rows_of(predictor)
    assert p.sum().item() == pytest.approx(1)
    mask = torch.tensor([[True, False, False, False]])
    draws = predictor.draws(rows[:1], mask)
    agree = rows[:, 0] == rows[0, 0]
    exact = (p[agree, None] * predictor.table.encode(rows[agree])).sum(0) / p[agree].sum()
    assert torch.allclose(draws.expected[0, 2:], exact[2:])


def test_tables_and_people_that_do_not_fit_are_errors() -> None:
    table = RealTable(["a", "b"], torch.tensor([1.0, 2.0]))
    x = torch.tensor([[1.0, torch.nan]])
    with pytest.raises(InputError, match="a mask where values miss") as caught:
        check_people(table, x, None)
    mask = eval(caught.value.cure.removeprefix("mask = "))
    assert torch.equal(check_people(table, x, mask), torch.tensor([[True, False]]))
    with pytest.raises(InputError, match="mask"):
        check_people(table, x, mask.float())
    with pytest.raises(InputError, match="tests"):
        check_people(table, x[:, :1], None, "tests")
    with pytest.raises(InputError, match="spread"):
        RealTable(2, torch.zeros(2))
    with pytest.raises(InputError, match="num_samples"):
        linear().draws(torch.zeros(1, 6).double(), torch.zeros(1, 6, dtype=torch.bool), 0)


def test_gaps_are_filled_with_values_that_the_column_has() -> None:
    x = torch.tensor([[2.0, torch.nan], [5.0, torch.nan]])
    mask = torch.tensor([[True, False], [False, False]])
    assert torch.equal(filled(x, mask), torch.tensor([[2.0, 1.0], [2.0, 1.0]]))


def test_values_are_read_within_the_limits_that_were_given() -> None:
    plain, x = mixed_pair(), mixed_rows(3)
    low = torch.full((7,), -torch.inf)
    high = torch.tensor([0.5, 2.0, 4.0, torch.inf, torch.inf, torch.inf, 0.0])
    bounded = PairPredictor(plain.model, plain.guide, limits=torch.stack([low, high]))
    mask = torch.ones_like(x, dtype=torch.bool)
    x[:, 0], near = 400.0, torch.minimum(x, high)
    near[:, 0] = 0.5
    assert torch.equal(bounded.draws(x, mask, 9).raw, plain.draws(near, mask, 9).raw)
    assert torch.equal(bounded.draws(x, mask, 9).weights, plain.draws(near, mask, 9).weights)
    assert torch.equal(bounded.posterior(x, mask).loc, plain.posterior(near, mask).loc)
    assert not torch.equal(plain.posterior(x, mask).loc, plain.posterior(near, mask).loc)
