from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from ppl_models.errors import InputError
from ppl_models.likelihoods import CONTINUOUS, KINDS, Column, Columns

TABLE = (
    Column("age", unit="years"),
    Column("blood", "categorical", ("0", "A", "B", "AB")),
    Column("smoker", "binary", ("no", "yes")),
    Column("visits", "count"),
    Column("pain", "ordinal", ("none", "some", "much", "most")),
    Column("crp", "positive", unit="mg/l"),
    Column("threshold", "censored", lower=-10.0, upper=100.0),
    Column("weight"),
    Column("loud", "censored", upper=1.0),
    Column("ward", "categorical", ("north", "south")),
    Column("sleep", "ordinal", ("bad", "good")),
)
NAMES = [column.name for column in TABLE]


def rows(count: int = 400, seed: int = 0) -> Tensor:
    """A table of all kinds, in units that are not standard."""
    rng = np.random.default_rng(seed)
    columns = [
        rng.normal(50, 15, count),
        rng.integers(0, 4, count),
        rng.random(count) < 0.3,
        rng.negative_binomial(2, 0.3, count),
        rng.choice(4, count, p=[0.4, 0.3, 0.2, 0.1]),
        rng.lognormal(1, 0.8, count),
        rng.normal(70, 30, count).clip(-10, 100),
        rng.normal(-3, 0.1, count),
        rng.normal(0, 1, count).clip(None, 1),
        rng.integers(0, 2, count),
        rng.integers(0, 2, count),
    ]
    return torch.tensor(np.stack([c.astype(float) for c in columns], 1))


def fitted(columns: tuple[Column, ...] = TABLE) -> tuple[Columns, Tensor]:
    """A likelihood in double precision that knows the units of the table, and the table."""
    at = [NAMES.index(column.name) for column in columns]
    x = rows()[:, at]
    return Columns(columns).double().start_from(x), x


def raw_of(likelihood: Columns, count: int = 400) -> Tensor:
    return torch.randn(count, likelihood.raw_dim, dtype=torch.float64)


def of(likelihood: Columns, name: str) -> int:
    return likelihood.names.index(name)


def scale_of(raw: Tensor, scale: Tensor, floor: float = 0.02, ceiling: float = 3.0) -> Tensor:
    """The standard deviation, in the units of the data: 1 at 0 in standard units."""
    middle = (1 - floor) / (ceiling - floor)
    return scale * (floor + (ceiling - floor) * (raw + np.log(middle / (1 - middle))).sigmoid())


def by_scipy(likelihood: Columns, raw: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Log densities of the one column of a likelihood."""
    column, level = likelihood.columns[0], x.astype(int)
    if column.levels:
        share = (np.bincount(level) + 0.5) / (len(x) + 0.5 * column.num_classes)
        return _of_levels(column.kind, share, raw, level)
    loc = likelihood.shift.numpy() + likelihood.scale.numpy() * raw[:, 0]
    if column.kind == "count":
        r = likelihood.log_dispersion.exp().item()
        return stats.nbinom(r, r / (r + np.exp(loc))).logpmf(x)
    scale = scale_of(torch.from_numpy(raw[:, 1]), likelihood.scale).numpy()
    if column.kind == "positive":
        return stats.lognorm(scale, scale=np.exp(loc)).logpdf(x)
    normal = stats.norm(loc, scale)
    if column.kind == "real":
        return normal.logpdf(x)
    at_limit = np.where(x >= 100, normal.logsf(100), normal.logcdf(-10))
    return np.where((x < 100) & (x > -10), normal.logpdf(x), at_limit)


def _of_levels(kind: str, share: np.ndarray, raw: np.ndarray, level: np.ndarray) -> np.ndarray:
    if kind == "binary":
        p = 1 / (1 + np.exp(-raw[:, 0]) * share[0] / share[1])
        return stats.bernoulli(p).logpmf(level)
    if kind == "categorical":
        p = share * np.exp(raw)
        return np.log(p[np.arange(len(p)), level] / p.sum(1))
    below = share.cumsum()[:-1]
    cuts = np.r_[-np.inf, np.log(below / (1 - below)), np.inf]
    latent = stats.logistic(raw[:, 0])
    return np.log(latent.cdf(cuts[level + 1]) - latent.cdf(cuts[level]))


@pytest.mark.parametrize("name", NAMES[:7])
def test_each_kind_scores_values_as_scipy_does_in_the_units_of_the_data(name: str) -> None:
    likelihood, x = fitted((TABLE[NAMES.index(name)],))
    raw = raw_of(likelihood)
    found = likelihood.distribution(raw).log_prob(x)[:, 0].detach().numpy()
    np.testing.assert_allclose(found, by_scipy(likelihood, raw.numpy(), x[:, 0].numpy()), rtol=1e-9)


def test_a_table_is_its_columns_side_by_side() -> None:
    likelihood, x = fitted()
    raw = raw_of(likelihood)
    together = likelihood.distribution(raw).log_prob(x)
    at = 0
    blocks = {}
    for kind in KINDS:  # outputs are kind by kind; within one, all locations, then all scales
        named = [c for c in TABLE if c.kind == kind]
        widths = [c.num_classes if kind == "categorical" else 1 for c in named]
        for column, width in zip(named, widths, strict=True):
            blocks[column.name] = list(range(at, at + width))
            at += width
        if kind in CONTINUOUS:
            for column in named:
                blocks[column.name].append(at)
                at += 1
    assert at == likelihood.raw_dim
    for d, column in enumerate(TABLE):
        alone, own = fitted((column,))
        assert torch.equal(alone.shift, likelihood.shift[d : d + 1])
        of_one = alone.distribution(raw[:, blocks[column.name]]).log_prob(own)
        assert torch.allclose(of_one[:, 0], together[:, d])
    assert torch.allclose(likelihood(raw).log_prob(x), together.sum(-1))


def test_draws_have_the_moments_that_are_given_in_every_kind() -> None:
    likelihood, _ = fitted()
    raw = 0.5 * raw_of(likelihood, 3)
    distribution = likelihood.distribution(raw)
    x = distribution.sample((40_000,))
    likelihood.check(x)
    mean, variance = likelihood.moments(raw)
    found = likelihood.encode(x)
    assert mean.shape == variance.shape == (3, len(likelihood.owner))
    assert ((found.mean(0) - mean).abs() < 5 * (variance / 40_000).sqrt() + 1e-12).all()
    light = likelihood.owner != of(likelihood, "crp")  # a log-normal variance has heavy tails
    assert torch.allclose(found.var(0)[:, light], variance[:, light], rtol=0.06)
    assert torch.allclose(found.var(0), variance, rtol=0.5)


def test_moments_of_a_censored_column_hold_far_beyond_its_limits() -> None:
    likelihood, _ = fitted((TABLE[6],))
    raw = torch.tensor([[30.0, -3.0], [-30.0, -3.0], [0.0, 0.0]], dtype=torch.float64)
    mean, variance = likelihood.moments(raw)
    assert torch.allclose(mean[:2, 0], torch.tensor([100.0, -10.0], dtype=torch.float64))
    assert variance[:2].max() < 1e-3 < variance[2]
    single = copy.deepcopy(likelihood).float()
    assert single.moments(raw.float())[1].min() >= 0


def test_only_what_is_observed_is_scored_and_has_a_gradient() -> None:
    likelihood, x = fitted()
    mask = torch.rand(x.shape) < 0.5
    results = []
    for hidden in (torch.nan, torch.inf, -1.0):
        raw = raw_of(likelihood).zero_().requires_grad_()
        filled = likelihood.fill_missing(torch.where(mask, x, hidden), mask)
        value = likelihood.distribution(raw).mask(mask).log_prob(filled).sum()
        value.backward()
        assert raw.grad is not None and raw.grad.isfinite().all()
        results.append((value.detach(), raw.grad))
        assert likelihood.features(filled).isfinite().all()
    for value, grad in results[1:]:
        assert torch.equal(value, results[0][0]) and torch.equal(grad, results[0][1])
    assert likelihood.fill_missing(x, None) is x


def test_units_come_from_what_was_observed() -> None:
    x = rows()
    mask = torch.rand(x.shape) < 0.5
    likelihood = Columns(TABLE).start_from(torch.where(mask, x, torch.nan), mask)
    for d, column in enumerate(TABLE):
        seen = x[mask[:, d], d]
        logs = {"positive": torch.log, "count": torch.log1p}.get(column.kind, torch.clone)(seen)
        if column.kind in ("categorical", "binary"):
            assert (likelihood.shift[d], likelihood.scale[d]) == (0, 1)
        else:
            assert torch.isclose(likelihood.shift[d].double(), logs.mean(), rtol=1e-5)
            assert torch.isclose(likelihood.scale[d].double(), logs.std(unbiased=False), rtol=1e-5)
        spread = likelihood.spread[likelihood.owner == d].double()
        if column.kind == "categorical":
            p = torch.bincount(seen.long()) / len(seen)
            assert torch.allclose(spread, (1 - p.square().sum()).sqrt().double(), rtol=1e-5)
            assert len(spread) == column.num_classes
        else:
            assert torch.allclose(spread, seen.std(unbiased=False), rtol=1e-5)


def test_a_decoder_that_says_nothing_predicts_the_table_as_a_whole() -> None:
    likelihood, x = fitted()
    mean, variance = likelihood.moments(torch.zeros(1, likelihood.raw_dim, dtype=torch.float64))
    error = (mean[0] - likelihood.encode(x).mean(0)) / likelihood.spread
    # shares are smoothed, and a log-normal's or a count's mean is not that of its logs
    exact = [d for d, c in enumerate(TABLE) if c.kind not in ("positive", "count", "censored")]
    assert error[torch.isin(likelihood.owner, torch.tensor(exact))].abs().max() < 0.02
    assert error.abs().max() < 0.5
    assert (variance[0].sqrt() / likelihood.spread).max() < 3


def test_features_are_standard_units_and_one_hot_classes() -> None:
    likelihood, x = fitted()
    features = likelihood.features(x)
    assert (
        features.shape == (len(x), len(TABLE), likelihood.value_dim) and likelihood.value_dim == 4
    )
    for d, column in enumerate(TABLE):
        if column.kind == "categorical":
            one_hot = torch.nn.functional.one_hot(x[:, d].long(), 4).double()
            assert torch.equal(features[:, d], one_hot)
        else:
            assert features[:, d, 1:].abs().max() == 0
    numbers = [d for d, c in enumerate(TABLE) if c.kind not in ("categorical", "binary")]
    assert features[:, numbers, 0].mean(0).abs().max() < 1e-6
    assert torch.allclose(
        features[:, numbers, 0].std(0, unbiased=False), torch.ones(len(numbers)).double(), rtol=1e-5
    )
    assert Columns(3).features(torch.ones(2, 3), before=torch.zeros(2, 3)).shape == (2, 3, 1)


def test_coordinates_say_whose_they_are() -> None:
    likelihood, x = fitted()
    codes = likelihood.encode(x)
    assert likelihood.owner.tolist() == [0, 1, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 10]
    assert torch.equal(codes[:, 0], x[:, 0]) and torch.equal(codes[:, 8], x[:, 5])
    assert torch.equal(codes[:, 1:5].argmax(-1).double(), x[:, 1])
    assert torch.equal(codes[:, 12:14].argmax(-1).double(), x[:, 9])
    assert torch.equal(Columns(2).encode(x[:, :2]), x[:, :2])


def test_the_point_of_a_column_is_its_mean_or_its_most_probable_class() -> None:
    likelihood, _ = fitted()
    raw = raw_of(likelihood, 5)
    mean, point = likelihood.moments(raw)[0], likelihood.point(raw)
    assert torch.equal(point[:, 1], mean[:, 1:5].argmax(-1).double())
    assert torch.equal(point[:, 0], mean[:, 0]) and torch.equal(point[:, 10], mean[:, 14])
    assert torch.equal(Columns(3).point(torch.ones(2, 6)), torch.ones(2, 3))


@pytest.mark.parametrize("limits", [{}, {"floor": 0.2, "ceiling": 1.5}, {"ceiling": 0.5}])
def test_standard_deviations_stay_between_floor_and_ceiling(limits: dict[str, float]) -> None:
    likelihood = Columns(1, **limits)
    raw = torch.tensor([[0.0, -100], [0, 0], [0, 100]])
    found = likelihood.moments(raw)[1][:, 0].sqrt()
    floor, ceiling = limits.get("floor", 0.02), limits.get("ceiling", 3.0)
    wanted = torch.tensor([floor, min(1.0, 0.99 * ceiling), ceiling])
    assert torch.allclose(found, wanted, rtol=1e-4)


def test_a_larger_batch_shape_is_the_same_distribution() -> None:
    likelihood, x = fitted()
    distribution = likelihood.distribution(raw_of(likelihood))
    wide = distribution.expand(torch.Size((3, 400, 11)))
    assert wide.sample().shape == (3, 400, 11)
    assert torch.equal(wide.log_prob(x)[2], distribution.log_prob(x))


def test_columns_of_some_kinds_keep_the_order_of_the_table() -> None:
    likelihood, x = fitted()
    raw = raw_of(likelihood)
    whole, numbers = likelihood.distribution(raw), likelihood.distribution(raw, CONTINUOUS)
    at = [d for d, c in enumerate(TABLE) if c.kind in CONTINUOUS]
    assert numbers.has_rsample and not whole.has_rsample
    assert torch.equal(numbers.log_prob(x[:, at]), whole.log_prob(x)[:, at])
    raw.requires_grad_()
    likelihood.distribution(raw, CONTINUOUS).rsample().sum().backward()
    assert raw.grad is not None and raw.grad.abs().sum() > 0


def test_a_copy_and_a_saved_state_score_the_same() -> None:
    likelihood, x = fitted()
    raw = raw_of(likelihood)
    wanted = likelihood(raw).log_prob(x)
    assert torch.equal(copy.deepcopy(likelihood)(raw).log_prob(x), wanted)
    fresh = Columns(TABLE).double()
    fresh.load_state_dict(likelihood.state_dict())
    assert torch.equal(fresh(raw).log_prob(x), wanted)


def test_a_constant_column_keeps_the_unit_1() -> None:
    x = torch.stack([torch.full((50,), 1e6), torch.zeros(50), torch.zeros(50)], 1)
    columns = Columns([Column("a"), Column("b", "binary"), Column("c", "categorical", ("u", "v"))])
    columns.start_from(x)
    assert torch.equal(columns.scale, torch.ones(3)) and torch.equal(columns.spread, torch.ones(4))
    assert columns.features(x).isfinite().all()
    assert columns(torch.zeros(50, columns.raw_dim)).log_prob(x).isfinite().all()


WRONG = {
    "crp": (0.0, "numbers above 0"),
    "visits": (1.5, "counts"),
    "smoker": (2.0, "0 to 1"),
    "blood": (4.0, "0 to 3"),
    "pain": (-1.0, "0 to 3"),
    "age": (torch.inf, "finite"),
    "threshold": (torch.nan, "finite"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_value_of_another_kind_is_named_and_may_be_masked_out(name: str) -> None:
    likelihood, x = fitted()
    value, expected = WRONG[name]
    x[3, NAMES.index(name)] = value
    with pytest.raises(InputError, match=name) as caught:
        likelihood.check(x)
    assert expected in caught.value.expected and "mask" in caught.value.cure
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[3, NAMES.index(name)] = False
    likelihood.check(x, mask)
    likelihood.start_from(x, mask)


def test_a_column_of_which_nothing_was_observed_is_named() -> None:
    likelihood, x = fitted()
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[:, 3] = False
    with pytest.raises(InputError, match="visits") as caught:
        likelihood.start_from(x, mask)
    assert caught.value.cure == "leave the column out"
    kept = [d for d in range(len(TABLE)) if d != 3]
    Columns([TABLE[d] for d in kept]).start_from(x[:, kept], mask[:, kept])


def test_masks_and_tables_of_another_shape_are_errors() -> None:
    likelihood, x = fitted()
    for wrong in (torch.ones(400, 11), torch.ones(400, 10, dtype=torch.bool)):
        with pytest.raises(InputError, match="mask"):
            likelihood.fill_missing(x, wrong)
        with pytest.raises(InputError, match=r"~x\.isnan"):
            likelihood.start_from(x, wrong)
    with pytest.raises(InputError, match="N, 11"):
        likelihood.start_from(x[:, :10])
    with pytest.raises(InputError, match="floats"):
        likelihood.check(x.long())
    likelihood.start_from(x, ~x.isnan())


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ({"kind": "reel"}, {"kind": "real"}),
        ({"kind": "categorical"}, {"kind": "categorical", "levels": ("low", "middle", "high")}),
        ({"kind": "binary", "levels": ("a", "b", "c")}, {"kind": "categorical", "levels": "abc"}),
        ({"levels": ("a", "b")}, {"kind": "ordinal", "levels": ("a", "b")}),
        ({"kind": "censored"}, {"kind": "censored", "upper": 110.0}),
        ({"kind": "censored", "lower": 2.0, "upper": 1.0}, {"kind": "real"}),
        ({"upper": 3.0}, {"kind": "censored", "upper": 3.0}),
    ],
)
def test_a_column_that_makes_no_sense_is_an_error_whose_cure_works(wrong, right) -> None:
    with pytest.raises(InputError) as caught:
        Column("c", **wrong)
    assert caught.value.found and caught.value.cure
    assert Columns([Column("c", **right)]).data_dim == 1


@pytest.mark.parametrize("wrong", [[], ["age"], [Column("a"), Column("a")], 0])
def test_a_table_without_columns_of_different_names_is_an_error(wrong) -> None:
    with pytest.raises(InputError, match="columns"):
        Columns(wrong)
    assert Columns([Column("age"), Column("sex", "binary")]).names == ("age", "sex")
    assert Columns(2).names == ("x1", "x2")


def test_a_floor_above_the_ceiling_is_an_error() -> None:
    for wrong in ({"floor": 4.0}, {"floor": 0.0}, {"floor": 0.5, "ceiling": 0.4}):
        with pytest.raises(InputError, match="floor"):
            Columns(2, **wrong)
