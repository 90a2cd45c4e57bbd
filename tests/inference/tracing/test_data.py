from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from inference import NonFiniteError, Run, fit
from inference.tracing.data import columns
from ppl_models.errors import InputError
from tests import pairs
from tests.inference.training.fitting import QUIET, conjugate, data, parameters, same

# -- forms of data ---------------------------------------------------------------------------------


class Regression(nn.Module):
    """y_i ~ N(a x_i, 1), with a free scale for masked rows; z_i unused but latent."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.0))

    def forward(
        self, x: Tensor, y: Tensor | None = None, mask: Tensor | None = None, power: int = 1
    ) -> None:
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            noise = dist.Normal(self.slope * x**power + z, 1.0)
            noise = noise if mask is None else noise.mask(mask)
            pyro.sample("y", noise, obs=y)


class RegressionGuide(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.1))

    def forward(
        self, x: Tensor, y: Tensor | None = None, mask: Tensor | None = None, power: int = 1
    ) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(self.gain * y, 1.0))


X, Y = data(40, 2), data(40, 3)
FORMS: dict[str, Any] = {
    "tuple": (X, Y),
    "list": [X, Y],
    "dict": {"y": Y, "x": X},
    "none": (X, Y, None),
    "number": {"x": X, "y": Y, "mask": None, "power": 1},
    "mask": {"x": X, "y": Y, "mask": torch.ones(40, dtype=torch.bool)},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_data_trains_the_same(form: str) -> None:
    options = {"epochs": 2, "batch_size": 16, **QUIET}
    usual = fit(Regression(), RegressionGuide(), FORMS["tuple"], **options)
    other = fit(Regression(), RegressionGuide(), FORMS[form], **options)
    assert usual.model.slope.item() != 0
    for a, b in zip(parameters(usual), parameters(other), strict=True):
        assert torch.allclose(a, b, rtol=1e-5)


class Rows(Dataset):
    """Data sets that give dicts."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        return {"x": X[i], "y": Y[i]}


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        yield from zip(X, Y, strict=True)


@pytest.mark.parametrize("kind", ["tuples", "dicts", "stream"])
def test_a_dataloader_trains_like_the_tensors_in_it(kind: str) -> None:
    sets = {"tuples": TensorDataset(X, Y), "dicts": Rows(), "stream": Stream()}
    size = 40 if kind == "stream" else None
    loader = DataLoader(sets[kind], batch_size=16)
    run = fit(Regression(), RegressionGuide(), loader, epochs=3, data_size=size, **QUIET)
    assert [row["step"] for row in run.history] == [3, 6, 9]  # 16 + 16 + 8
    again = fit(Regression(), RegressionGuide(), loader, epochs=3, data_size=size, **QUIET)
    assert same(run, again)


def test_a_dataloader_that_shuffles_follows_the_seed() -> None:
    def run(seed: int, generator: torch.Generator | None = None) -> Run:
        loader = DataLoader(TensorDataset(X, Y), 16, shuffle=True, generator=generator)
        return fit(Regression(), RegressionGuide(), loader, epochs=2, seed=seed, **QUIET)

    assert same(run(0), run(0))
    assert not same(run(0), run(1))
    assert same(run(0, torch.Generator()), run(0, torch.Generator().manual_seed(9)))


def test_a_whole_epoch_sees_every_row_once_in_another_order_each_time() -> None:
    seen: list[Tensor] = []

    class Watch(pairs.Conjugate):
        def forward(self, x: Tensor | None = None, size: int = 1) -> Tensor:
            if torch.is_grad_enabled() and x is not None:  # a training step
                seen.append(x.detach().clone())
            return super().forward(x, size)

    x = torch.arange(50.0) / 50
    fit(Watch(), pairs.ConjugateGuide(), x, epochs=2, batch_size=20, **QUIET)
    seen = seen[1:]  # fit looked at a batch first
    assert [len(batch) for batch in seen] == [20, 20, 10] * 2
    first, second = torch.cat(seen[:3]), torch.cat(seen[3:])
    assert torch.equal(first.sort().values, x) and torch.equal(second.sort().values, x)
    assert not torch.equal(first, second) and not torch.equal(first, x)


# -- mistakes --------------------------------------------------------------------------------------

MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "no rows": ({"data": torch.zeros(0)}, "data: saw no row"),
    "no tensor": ({"data": (3,)}, "data: saw no tensor with rows"),
    "an array": ({"data": np.zeros(3)}, r"data: x: saw an array of float64[\s\S]*torch.as_tensor"),
    "an array inside": ({"data": {"x": np.zeros(3)}}, r"data: x: saw an array of float64"),
    "lengths": ({"data": {"x": data(5), "size": data(4)}}, "5 rows of x, 4 rows of size"),
    "lengths by name": ({"data": (data(5), data(4))}, "5 rows of x, 4 rows of size"),
    "keyword": ({"data": {"x": data(5), "y": data(5)}}, r"'y'[\s\S]*what the model takes"),
    "too many": ({"data": (data(5), 1, data(5))}, "too many positional"),
    "labels": ({"data": (data(5), data(5))}, "size: saw a tensor of shape"),
    "batch_size": ({"batch_size": 0}, "batch_size: saw 0"),
    "batch_size kind": ({"batch_size": 2.5}, "batch_size: saw 2.5"),
    "epochs": ({"epochs": -1}, "epochs: saw -1"),
    "patience": ({"patience": 0}, "patience: saw 0"),
    "seed": ({"seed": "a"}, "seed: saw 'a'"),
    "rate": ({"learning_rate": -1.0}, "learning_rate: saw -1.0"),
    "rate nan": ({"learning_rate": math.nan}, "learning_rate: saw nan"),
    "clip": ({"clip": 0}, "clip: saw 0"),
    "optimizer": ({"optimizer": "adam"}, "optimizer: saw a str"),
    "objective": ({"objective": "trace"}, "objective: saw 'trace'"),
    "data_size": ({"data_size": 10}, "data_size: saw 10 for 100"),
    "resume": ({"resume": True}, "directory: saw None"),
    "fraction": ({"validation": 1.0}, "validation: saw 1.0 of 100"),
    "validation": ({"validation": 3}, "validation: saw a int"),
    "validation rows": ({"validation": torch.zeros(0)}, "validation: saw no row"),
    "loader": (
        {"data": DataLoader(TensorDataset(X)), "validation": 0.1},
        "a fraction of a DataLoader",
    ),
    "stream": ({"data": DataLoader(Stream(), 8)}, "data_size: saw a DataLoader without a length"),
    "empty loader": (
        {"data": DataLoader(TensorDataset(X), 64, drop_last=True)},
        "a DataLoader without a batch",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named(mistake: str) -> None:
    settings, message = MISTAKES[mistake]
    with pytest.raises(InputError, match=message):
        fit(*conjugate(), **{"data": data(), **settings}, **QUIET)


def test_an_optimizer_that_was_made_already_is_refused() -> None:
    model, guide = conjugate()
    with pytest.raises(InputError, match="optimizer=lambda parameters"):
        fit(model, guide, data(), optimizer=torch.optim.Adam(model.parameters()), **QUIET)  # type: ignore[arg-type]


@pytest.mark.parametrize("validated", [True, False])
def test_nan_in_the_data_is_named_with_its_place(validated: bool) -> None:
    x = data()
    x[[3, 70]] = math.nan
    with pyro.validation_enabled(validated), pytest.raises(NonFiniteError) as raised:
        fit(*conjugate(), x, batch_size=25, **QUIET)
    assert raised.value.site in ("x", "z")
    for words in ("epoch 1", "batch ", "x is NaN or infinite in 2 of 100 rows"):
        assert words in str(raised.value)


@pytest.mark.parametrize("validated", [True, False])
def test_nan_in_the_validation_data_is_named(validated: bool) -> None:
    held = data(20)
    held[4] = math.nan
    with pyro.validation_enabled(validated), pytest.raises(NonFiniteError) as raised:
        fit(*conjugate(), data(), validation=held, **QUIET)
    assert "epoch 1, reporting" in str(raised.value)
    assert "x is NaN or infinite in 1 of 20 rows" in str(raised.value)


def test_a_gradient_that_is_not_finite_stops_before_it_is_taken() -> None:
    """sqrt has an infinite slope at 0, where the guide's second datum is; the loss is finite."""

    class Rooted(pairs.ConjugateGuide):
        def forward(self, x: Tensor | None = None, size: int = 1) -> None:
            with pyro.plate("data", len(x), dim=-1):
                loc = (self.slope * x.abs()).sqrt()
                pyro.sample("z", dist.Normal(loc, self.log_scale.exp()))

    x = data(64)
    x[40] = 0.0
    guide = Rooted()
    with pytest.raises(NonFiniteError, match=r"gradient of this parameter \(epoch 1, batch ") as e:
        fit(pairs.Conjugate(), guide, x, batch_size=16, **QUIET)
    assert e.value.site == "guide.slope"
    assert all(p.isfinite().all() for p in guide.parameters())


def test_a_loss_that_diverges_names_a_site_and_leaves_finite_parameters() -> None:
    model, guide = conjugate()
    with pytest.raises(NonFiniteError, match="epoch ") as raised:
        fit(model, guide, 1e18 * data(), learning_rate=50.0, epochs=50, batch_size=20, **QUIET)
    assert raised.value.site in ("x", "z", "guide.slope", "guide.log_scale", "model.log_noise")
    assert all(p.isfinite().all() for m in (model, guide) for p in m.parameters())


def test_huge_but_finite_gradients_are_no_error() -> None:
    """The norm of float32 gradients of 1e20 overflows; Adam does not mind."""
    x = 1e10 * data(20)
    run = fit(*conjugate(), x, epochs=1, learning_rate=1e-3, **QUIET)
    assert run.epochs == 1


def test_an_error_of_the_model_itself_is_not_hidden() -> None:
    class Broken(pairs.Conjugate):
        def forward(self, x: Tensor | None = None, size: int = 1) -> Tensor:
            raise ValueError("my own mistake")

    with pytest.raises(ValueError, match="my own mistake"):
        fit(Broken(), pairs.ConjugateGuide(), data(), **QUIET)


# -- tensors in a dict, as one argument


def of_batch(batch: dict[str, Any]) -> None:
    x, y = batch["inputs"]["x"], batch["outputs"][0]
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal(slope * x, 1.0), obs=y)


def of_pair(x: Tensor, y: Tensor) -> None:
    of_batch({"inputs": {"x": x}, "outputs": [y]})


def test_a_dict_as_an_argument_is_cut_as_its_tensors_are() -> None:
    x = torch.linspace(-1.0, 1.0, 10)
    batch = {"inputs": {"x": x}, "outputs": [0.5 * x], "note": "constant"}
    settings: dict[str, Any] = {"epochs": 3, "batch_size": 4, **QUIET}
    nested = fit(of_batch, AutoNormal(of_batch), (batch,), **settings)
    flat = fit(of_pair, AutoNormal(of_pair), (x, 0.5 * x), **settings)
    for one, other in zip(parameters(nested), parameters(flat), strict=True):
        assert torch.equal(one, other)


def test_a_dict_beside_tensors_is_passed_whole() -> None:
    table = {"scale": torch.ones(7)}
    batch = columns((torch.arange(4.0), table), "data").rows(slice(2))
    assert batch.size == 2 and batch.args[1] is table


def test_a_dict_of_unequal_rows_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="3 rows of batch.*4 rows of batch"):
        columns(({"x": torch.ones(3), "y": torch.ones(4)},), "data", ("batch",))


def test_the_cure_of_a_datum_without_a_row_works() -> None:
    def model(x: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        with pyro.plate("data", x.numel()):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    x = torch.tensor(1.0)
    with pytest.raises(InputError, match=r"x.reshape\(1, ...\)"):
        fit(model, AutoNormal(model), x, epochs=1, **QUIET)
    assert math.isfinite(fit(model, AutoNormal(model), x.reshape(1), epochs=1, **QUIET).best_bound)


def test_the_cure_of_batches_in_a_generator_or_a_list_works() -> None:
    rows = data(12)
    batches = [(rows[:6],), (rows[6:],)]
    for given in (batches, (batch for batch in batches)):
        with pytest.raises(InputError, match=r"tuple\(map\(torch.cat, zip\(\*data\)\)\)"):
            columns(given, "data")
    (joined,) = columns(tuple(map(torch.cat, zip(*batches, strict=True))), "data").args
    assert torch.equal(joined, rows)
