"""Pairs on batches: latents of each datum with and without numbers of rows, batch norm, shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import (
    AutoDelta,
    AutoDiagonalNormal,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
    AutoNormalMessenger,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from inference import PairError, fit
from ppl_models import VAE, InputError
from tests.inference.training.fitting import QUIET

N = 96
X = torch.randn(N, generator=torch.Generator().manual_seed(0)) * 5**0.5
EXACT = dist.Normal(0.0, 5**0.5).log_prob(X).mean().item()
FEW: dict[str, Any] = {"epochs": 1, "batch_size": 32, **QUIET}


def story(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 2.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def by_place(x: Tensor) -> None:
    loc = pyro.param("loc", torch.zeros(32))
    scale = pyro.param("scale", torch.ones(32), constraint=dist.constraints.positive)
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(loc, scale))


def by_place_of_a_longer_table(x: Tensor) -> None:
    loc = pyro.param("loc", torch.zeros(N))
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(loc[: len(x)], 1.0))


AUTO = (
    AutoNormal,
    AutoDelta,
    AutoDiagonalNormal,
    AutoMultivariateNormal,
    AutoLowRankMultivariateNormal,
    AutoNormalMessenger,
)
POSITIONAL: dict[str, Callable[[], Any]] = {
    **{kind.__name__: lambda kind=kind: kind(story) for kind in AUTO},
    "param": lambda: by_place,
    "table": lambda: by_place_of_a_longer_table,
}


@pytest.mark.parametrize("name", POSITIONAL)
@pytest.mark.parametrize("size", [N, N - 10])
def test_a_posterior_that_goes_by_the_place_in_a_batch_is_refused(name: str, size: int) -> None:
    with pytest.raises(PairError) as raised:
        fit(story, POSITIONAL[name](), X[:size], **FEW)
    assert raised.value.site == "z"
    for words in (f"batch_size={size}", "amortised", "subsample=index", "create_plates="):
        assert words in raised.value.cure


@pytest.mark.parametrize("kind", AUTO[:4])
def test_all_data_in_one_batch_are_right(kind: Any) -> None:
    """The first cure. Nothing is refused, and the bound rises."""
    options = {"epochs": 20, "batch_size": N, "learning_rate": 0.1, "report_every": 1}
    run = fit(story, kind(story), X, **options, **QUIET)
    assert run.history[-1]["bound"] > run.history[0]["bound"]


def test_all_data_in_one_batch_are_no_cure_where_others_judge() -> None:
    with pytest.raises(PairError, match="'z'"):
        fit(story, AutoNormal(story), X, batch_size=N, epochs=1, validation=X[:10], **QUIET)


# -- what is not refused ---------------------------------------------------------------------------


class Reads(nn.Module):
    """q(z_i | x_i), its weights as many as the rows that are looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(16, 16)
        self.table = nn.Embedding(16, 1)
        self.out = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> None:
        code = torch.nn.functional.one_hot(x.long().abs() % 16, 16).float()
        level = self.table(x.long().abs() % 16).squeeze(-1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.out(self.net(code)).squeeze(-1) + level, 1.0))


def shared(x: Tensor) -> None:
    loc = pyro.param("loc", torch.zeros(40))
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(loc.sum(), 1.0))


@pytest.mark.parametrize("guide", [Reads(), shared], ids=["amortised", "shared"])
def test_guides_that_read_the_data_or_share_one_posterior_are_right(guide: Any) -> None:
    assert fit(story, guide, X, **FEW).history
    counts = torch.arange(float(N))  # rows whose code is their place
    assert fit(story, guide, counts, **FEW).history


def test_rows_outside_the_data_plate_are_refused_in_batches_alone() -> None:
    def model(x: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(0.0, 2.0).expand([len(x)]).to_event(1))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        slope = pyro.param("slope", torch.tensor(0.5))
        pyro.sample("z", dist.Normal(slope * x, 1.0).to_event(1))

    for pair in ((model, guide), (model, AutoNormal(model))):
        with pytest.raises(PairError, match="outside the plate 'data'") as raised:
            fit(*pair, X, **FEW)
        assert raised.value.site == "z"
    assert fit(model, guide, X, **{**FEW, "batch_size": N}).history


# -- rows by their numbers -------------------------------------------------------------------------


def numbered(x: Tensor, index: Tensor | None = None) -> None:
    with pyro.plate("data", N, subsample=index):
        z = pyro.sample("z", dist.Normal(0.0, 2.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def table(x: Tensor, index: Tensor | None = None) -> None:
    """The same posterior as AutoNormal's, in a few lines of one's own."""
    index = torch.arange(N) if index is None else index
    loc = pyro.param("loc", torch.zeros(N))
    scale = pyro.param("scale", torch.ones(N), constraint=dist.constraints.positive)
    with pyro.plate("data", N, subsample=index):
        pyro.sample("z", dist.Normal(loc[index], scale[index]))


def plates(x: Tensor, index: Tensor | None = None) -> Any:
    return pyro.plate("data", N, subsample=index)


GUIDES: dict[str, Callable[[], Any]] = {
    "AutoNormal": lambda: AutoNormal(numbered, create_plates=plates),
    "table": lambda: table,
}


@pytest.mark.parametrize(
    ("name", "batch_size"), [("AutoNormal", 36), pytest.param("table", 32, marks=pytest.mark.slow)]
)
def test_latents_of_each_datum_reach_the_evidence_in_batches(name: str, batch_size: int) -> None:
    """The posterior of z_i is N(0.8 x_i, 0.8), inside the guide's family: the bound is the evidence
    but for what Adam leaves; one draw of a bound at the posterior has no noise, and 0.02 nats are a
    jitter of 0.2 in every loc.
    """
    options: dict[str, Any] = {"batch_size": batch_size, "index": "index", "report_every": 50}
    guide = GUIDES[name]()
    rate = {"learning_rate": lambda step: 0.1 * 0.98 ** (step / 3)}
    run = fit(numbered, guide, X, epochs=250, **rate, **options, **QUIET)
    assert abs(run.history[-1]["bound"] - EXACT) < 0.02
    loc = dict(run.guide.named_parameters())
    place = next(value for key, value in loc.items() if "loc" in key)
    assert (place - 0.8 * X).abs().mean() < 0.1


def test_rows_have_the_same_numbers_in_every_batch() -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    class Watch(nn.Module):
        def forward(self, x: Tensor, rows: Tensor) -> None:
            seen.append((x, rows))
            numbered(x, rows)

    def guide(x: Tensor, rows: Tensor) -> None:
        table(x, rows)

    fit(Watch(), guide, {"x": X}, index="rows", transform=lambda given: given, **FEW)
    assert {len(rows) for _, rows in seen} >= {32}
    assert all(torch.equal(x, X[rows]) for x, rows in seen)


def test_rows_of_a_positional_tensor_pass_by_the_transform() -> None:
    run = fit(numbered, table, X, index="index", transform=lambda x: x + 0.0, **FEW)
    assert run.history


WRONG_INDEX: dict[str, tuple[dict[str, Any], str]] = {
    "kind": ({"index": 3}, "index: saw a int"),
    "loader": ({"data": DataLoader(TensorDataset(X), 8)}, "index: saw a DataLoader"),
    "validation": ({"validation": 0.1}, "no posterior yet"),
    "unknown": ({"index": "nobody"}, "what the model takes"),
}


@pytest.mark.parametrize("name", WRONG_INDEX)
def test_numbers_of_rows_that_cannot_be_given_are_refused(name: str) -> None:
    settings, message = WRONG_INDEX[name]
    with pytest.raises(InputError, match=message):
        fit(numbered, table, **{"data": X, "index": "index", **settings}, **FEW)


# -- shapes, as `check` sees them ------------------------------------------------------------------


class Line(nn.Module):
    def __init__(self, squeeze: bool = False, events: bool = False) -> None:
        super().__init__()
        self.net, self.squeeze, self.events = nn.Linear(1, 1), squeeze, events

    def forward(self, x: Tensor, y: Tensor) -> None:
        mean = self.net(x).squeeze(-1) if self.squeeze else self.net(x)
        noise = dist.Normal(mean, 1.0)
        with pyro.plate("data", len(x)):
            pyro.sample("y", noise.to_event(1) if self.events else noise, obs=y)


def nothing(x: Tensor, y: Tensor) -> None:
    pass


INPUT = torch.randn(50, 1, generator=torch.Generator().manual_seed(1))
LINE = 3 * INPUT.squeeze(-1)


@pytest.mark.parametrize("model", [Line(), Line(squeeze=True)], ids=["mean", "data"])
def test_a_mean_and_data_that_differ_by_a_last_dim_are_refused(model: Line) -> None:
    y = LINE.unsqueeze(-1) if model.squeeze else LINE
    with pytest.raises(PairError, match=r"squeeze\(-1\)"):
        fit(model, nothing, (INPUT, y), epochs=1, **QUIET)


@pytest.mark.parametrize("way", ["squeezed mean", "more data dims"])
def test_both_cures_for_it_find_the_slope(way: str) -> None:
    """Least squares without noise: 3, to the last steps of Adam."""
    squeezed = way == "squeezed mean"
    model = Line(squeeze=squeezed, events=not squeezed)
    y = LINE if squeezed else LINE.unsqueeze(-1)
    fit(model, nothing, (INPUT, y), epochs=250, learning_rate=0.1, **QUIET)
    assert abs(model.net.weight.item() - 3) < 0.02


def test_rows_that_differ_between_model_and_guide_are_refused() -> None:
    def guide(x: Tensor) -> None:
        loc = pyro.param("loc", torch.zeros(()))
        with pyro.plate("data", len(x) - 1):
            pyro.sample("z", dist.Normal(loc, 1.0).expand([len(x) - 1]))

    with pytest.raises(PairError) as raised:
        fit(story, guide, X, **FEW)
    assert "32" in str(raised.value) and "31" in str(raised.value)


# -- batch norm ------------------------------------------------------------------------------------


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))

    def forward(self, x: Tensor) -> None:
        loc, log_scale = self.net(x).chunk(2, -1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


ROWS = torch.randn(33, 4, generator=torch.Generator().manual_seed(2))


def test_a_batch_norm_that_would_see_one_row_is_named_and_both_cures_work() -> None:
    with pytest.raises(InputError, match=r"guide\.net\.1 \(BatchNorm1d\)") as raised:
        fit(VAE(4, 2), Normed(), ROWS, epochs=1, batch_size=32, **QUIET)
    assert "1 row of 33" in raised.value.found
    size = int(raised.value.cure.split("batch_size=")[1].split(",")[0])
    assert size == 17
    assert fit(VAE(4, 2), Normed(), ROWS, epochs=1, batch_size=size, **QUIET).history
    loader = DataLoader(TensorDataset(ROWS), 32, drop_last=True)
    assert fit(VAE(4, 2), Normed(), loader, epochs=1, **QUIET).history
    with pytest.raises(InputError, match="BatchNorm1d"):
        fit(VAE(4, 2), Normed(), DataLoader(TensorDataset(ROWS), 32), epochs=1, **QUIET)


def test_a_batch_norm_is_looked_at_without_moving_its_statistics() -> None:
    guide = Normed()
    fit(VAE(4, 2), guide, ROWS, epochs=0, batch_size=11, **QUIET)
    assert int(guide.net[1].num_batches_tracked) == 0
    assert torch.equal(guide.net[1].running_mean, torch.zeros(8))


def test_one_row_is_enough_without_a_batch_norm() -> None:
    class Plain(Normed):
        def __init__(self) -> None:
            super().__init__()
            self.net[1] = nn.LayerNorm(8)

    assert fit(VAE(4, 2), Plain(), ROWS, epochs=1, batch_size=32, **QUIET).history
