"""Data as users hold them: taken, or refused with a cure that is tried here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from guides import HMMGuide, VAEGuide
from inference import check, fit, importance, posterior
from inference.tracing.forms import refuse_form
from ppl_models import HMM, VAE, InputError
from tests.cures import evaluated, expressions, tried

X = torch.rand(24, 4, generator=torch.Generator().manual_seed(0))
QUIET: dict[str, Any] = {"epochs": 1, "progress": False}


def vae() -> tuple[VAE, VAEGuide]:
    model = VAE(4, 2)
    return model, VAEGuide(model)


DOORS: dict[str, Callable[..., Any]] = {
    "fit": lambda m, g, x: fit(m, g, x, **QUIET),
    "check": check,
    "posterior": lambda m, g, x: posterior(m, g, x, num_samples=3),
    "importance": lambda m, g, x: importance(m, g, x, num_samples=3),
}
FORMS: dict[str, Any] = {
    "array float64": X.double().numpy(),
    "array float32": X.numpy(),
    "array of bools": X.numpy() > 0.5,
    "array of bytes": (X.numpy() > 0.5).astype("uint8"),
    "array of integers": (9 * X.numpy()).astype(int),
    "array of objects": X.numpy().astype(object),
    "array of text": X.numpy().astype(str),
    "array of complex": X.numpy().astype(complex),
    "table": pd.DataFrame(X.numpy()),
    "table of two kinds": pd.DataFrame(X.numpy()).assign(**{"0": 1}).iloc[:, 1:],
    "float64": X.double(),
    "float16": X.half(),
    "integers": (9 * X).int(),
    "bools": X > 0.5,
    "bytes": (X > 0.5).byte(),
    "sparse": X.to_sparse(),
    "huge array": np.where(np.arange(4) == 1, 1e300, X.double().numpy()),
    "huge": torch.where(torch.arange(4) == 1, 1e300, X.double()),
}


BOTH = [(form, door) for form in FORMS for door in ("fit", "check")]
BOTH += [(form, door) for form in ("float64", "table") for door in ("posterior", "importance")]


@pytest.mark.parametrize(("form", "door"), BOTH)
def test_a_form_that_cannot_be_used_is_refused_with_a_cure_that_works(door: str, form: str) -> None:
    with pytest.raises(InputError) as raised:
        DOORS[door](*vae(), FORMS[form])
    codes = expressions(raised.value.cure)
    assert codes
    for code in codes:
        model, guide = vae()
        cured = evaluated(code, x=FORMS[form], model=model, guide=guide)
        DOORS[door](model, guide, FORMS[form] if isinstance(cured, nn.Module) else cured)


@pytest.mark.parametrize("door", DOORS)
def test_a_dtype_is_refused_in_the_same_words_everywhere(door: str) -> None:
    with pytest.raises(InputError) as raised:
        DOORS[door](*vae(), X.double())
    error = raised.value
    assert (error.argument, error.found) == ("x", "torch.float64")
    assert error.expected == "torch.float32, as the parameters are"
    assert error.cure == "x.float(), or model.double() and guide.double()"


def test_numbers_that_float32_cannot_hold_are_named() -> None:
    for form in ("huge", "huge array"):
        with pytest.raises(InputError, match=r"1e\+300, which is infinite in float32"):
            fit(*vae(), FORMS[form], **QUIET)


def test_integers_are_right_where_a_model_wants_classes() -> None:
    class Classes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(3, 4)

        def forward(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                pyro.sample("y", dist.Categorical(logits=self.table(x)), obs=x)

    def guide(x: Tensor) -> None:
        pass

    x = torch.arange(9) % 3
    run = fit(Classes(), guide, x, **QUIET)
    assert run.history and check(Classes(), guide, x).sites
    with pytest.raises(InputError) as raised:
        fit(Classes(), guide, x.float(), **QUIET)
    assert raised.value.found == "torch.float32"
    (cured,) = tried(raised.value, x=x.float())
    assert torch.equal(cured, x)


def test_an_error_of_another_kind_is_not_blamed_on_the_dtype() -> None:
    class Broken(VAE):
        def forward(self, x: Tensor | None = None, size: int = 1) -> Tensor:
            raise RuntimeError("my own mistake")

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))

    with pytest.raises((ValueError, RuntimeError), match="my own mistake"):
        fit(Broken(4, 2), guide, X.double(), **QUIET)


# -- sets, loaders, lists --------------------------------------------------------------------------


class Rows(Dataset):
    def __init__(self, labels: bool = False) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, i: int) -> Any:
        return (X[i], i % 3) if self.labels else X[i]


@pytest.mark.parametrize("data", [TensorDataset(X), Rows()], ids=["tensors", "map"])
def test_a_dataset_is_taken_by_rows(data: Any) -> None:
    run = fit(*vae(), data, batch_size=10, **QUIET)
    assert run.history[-1]["step"] == 3  # 10 + 10 + 4


@pytest.mark.parametrize("data", [TensorDataset(X), DataLoader(Rows(), 8)], ids=["set", "loader"])
@pytest.mark.parametrize("door", ["check", "posterior", "importance"])
def test_elsewhere_one_batch_of_it_is_asked_for(data: Any, door: str) -> None:
    with pytest.raises(InputError) as raised:
        DOORS[door](*vae(), data)
    for batch in tried(raised.value, x=data):
        DOORS[door](*vae(), batch[0] if isinstance(batch, list) else batch)


LABELS: dict[str, Any] = {
    "loader": DataLoader(Rows(labels=True), 8),
    "set": TensorDataset(X, torch.arange(24) % 3),
    "tuple": (X, torch.arange(24) % 3),
    "dict": {"x": X, "size": torch.arange(24) % 3},
}


@pytest.mark.parametrize("form", LABELS)
def test_labels_do_not_fill_an_argument_that_takes_a_number(form: str) -> None:
    with pytest.raises(InputError, match=r"size: saw a tensor of shape[\s\S]*leave ") as raised:
        fit(*vae(), LABELS[form], **QUIET)
    if form == "loader":
        how = raised.value.cure.split("collate_fn=")[1]
        again = DataLoader(Rows(labels=True), 8, collate_fn=eval(how, {"torch": torch}))
        assert fit(*vae(), again, **QUIET).history


def test_labels_that_no_argument_takes_are_refused_too() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(pyro.param("a", torch.zeros(())), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x[:, 0])

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x[:, 0], 1.0))

    with pytest.raises(InputError, match="leave out what is no data"):
        fit(model, guide, DataLoader(Rows(labels=True), 8), **QUIET)


def test_labels_are_data_of_a_model_that_takes_them() -> None:
    def model(x: Tensor, y: Tensor | None = None) -> None:
        slope = pyro.param("slope", torch.zeros(()))
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(slope * x[:, 0], 1.0), obs=y)

    def guide(x: Tensor, y: Tensor | None = None) -> None:
        pass

    assert fit(model, guide, DataLoader(Rows(labels=True), 8), **QUIET).history


SEQUENCES = [torch.randn(5, 2), torch.randn(7, 2), torch.randn(4, 2)]


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("door", DOORS)
def test_sequences_of_unequal_length_are_padded_and_masked(door: str, count: int) -> None:
    model = HMM(2, 2)
    guide, some = HMMGuide(model), SEQUENCES[:count]
    with pytest.raises(InputError) as raised:
        DOORS[door](model, guide, some)
    named = [value for value in tried(raised.value, x=some, s=some) if isinstance(value, dict)]
    assert named
    for given in named:
        assert fit(model, guide, {n: v for n, v in given.items()}, **QUIET).history
        assert given["mask"].sum(1).tolist() == [len(s) for s in some]


def test_sequences_of_equal_length_are_stacked() -> None:
    model = HMM(2, 2)
    with pytest.raises(InputError) as raised:
        check(model, HMMGuide(model), [torch.randn(5, 2)] * 3)
    (cured,) = tried(raised.value, x=[torch.randn(5, 2)] * 3, s=[torch.randn(5, 2)] * 3)
    assert check(model, HMMGuide(model), cured).sites


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("lengths", [(5, 7, 4), (5, 5, 5)])
def test_arrays_in_a_list_are_made_one_tensor(door: str, lengths: tuple[int, ...]) -> None:
    model, some = HMM(2, 2), [np.random.default_rng(0).normal(size=(n, 2)) for n in lengths]
    with pytest.raises(InputError, match="list of 3 arrays") as raised:
        DOORS[door](model, HMMGuide(model), some)
    (cured,) = tried(raised.value, x=some, s=some)
    assert fit(model, HMMGuide(model), cured, **QUIET).history


@pytest.mark.parametrize("door", ["fit", "check"])
def test_lists_of_numbers_are_made_a_tensor(door: str) -> None:
    with pytest.raises(InputError, match="a list of 24 lists") as raised:
        DOORS[door](*vae(), X.tolist())
    (cured,) = tried(raised.value, x=X.tolist())
    assert torch.equal(cured, X)


def test_batches_of_a_loader_may_be_cast_by_a_transform() -> None:
    loader = DataLoader(TensorDataset(X.double()), 8)
    with pytest.raises(InputError, match=r"in its Dataset; or transform=") as raised:
        fit(*vae(), loader, **QUIET)
    transform = eval(raised.value.cure.split("transform=")[1])
    assert fit(*vae(), loader, transform=transform, **QUIET).history


@pytest.mark.parametrize("value", [None, 3, "text", X, np.float64(2.0), object()])
def test_what_is_a_tensor_or_no_data_at_all_passes(value: Any) -> None:
    refuse_form("x", value)


def test_expressions_are_found_in_a_cure() -> None:
    cure = "x.float(), or model.double() and guide.double(); or look (twice) at it"
    assert expressions(cure)[:2] == ["x.float()", "model.double() and guide.double()"]
