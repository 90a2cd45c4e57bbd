"""NaN and infinite numbers in data: named by column and row, with cures that are tried here."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from guides import HMMGuide, MVAEGuide
from inference import NonFiniteError, check, fit
from inference.tracing import Columns
from inference.tracing.finite import filled, nonfinite_rows
from ppl_models import HMM, MVAE
from tests import pairs
from tests.cures import tried
from tests.inference.training.fitting import QUIET, conjugate, data

ONE: dict[str, Any] = {"epochs": 1, **QUIET}


def test_columns_rows_and_places_are_named() -> None:
    a, b = torch.zeros(5, 3), torch.zeros(5)
    a[2, 1], a[4, 0], b[3] = math.nan, math.inf, math.nan
    said = nonfinite_rows(Columns((a,), {"b": b, "c": torch.arange(5), "d": None}, 5), ("a",))
    first, second = said.split(", b ")
    assert first.startswith("a is NaN or infinite in 2 of 5 rows, first in row 2 at index (2, 1)")
    assert "a number beyond 3.4e+38 is infinite there" in first
    assert second == "is NaN or infinite in 1 of 5 rows, first in row 3"
    assert not nonfinite_rows(Columns((torch.zeros(5),), {}, 5), ("a",))


def test_what_is_filled_in_is_a_number_of_its_own_column() -> None:
    a, b = torch.tensor([1.0, math.nan, 3.0, 5.0]), torch.full((4,), math.nan)
    whole = filled(Columns((a,), {"b": b, "c": torch.arange(4)}, 4))
    assert whole.args[0].tolist() == [1.0, 3.0, 3.0, 5.0]
    assert whole.kwargs["b"].tolist() == [0.0] * 4 and whole.kwargs["c"].tolist() == [0, 1, 2, 3]


DOORS: dict[str, Callable[..., Any]] = {
    "fit": lambda m, g, x: fit(m, g, x, **ONE),
    "check": check,
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_the_cures_for_nan_in_the_data_work(door: str, bad: float) -> None:
    x = data()
    x[[3, 70]] = bad
    with pytest.raises(NonFiniteError) as raised:
        DOORS[door](*conjugate(), x)
    assert "x is NaN or infinite in 2 of 100 rows, first in row 3" in raised.value.found
    assert "learning rate" not in raised.value.cure and "scale" not in raised.value.cure
    fill, drop = (v for v in tried(raised.value, x=x) if isinstance(v, Tensor) and v.dim())
    assert (len(fill), len(drop)) == (100, 98)
    for cured in (fill, drop):
        DOORS[door](*conjugate(), cured)


def test_what_is_missing_may_be_said_where_the_model_takes_a_mask() -> None:
    model = MVAE({"a": 3, "b": 4}, 2)
    a, b = torch.randn(60, 3), torch.randn(60, 4)
    a[:20] = math.nan
    with pytest.raises(NonFiniteError) as raised:
        fit(model, MVAEGuide(model), {"a": a, "b": b}, **ONE)
    for words in ("mask=", "leave 'a' out", "isfinite()"):
        assert words in raised.value.cure
    mask = torch.stack([~a.isnan().any(1), ~b.isnan().any(1)], 1)
    for given in ({"a": a, "b": b, "mask": mask}, {"b": b}):
        assert fit(model, MVAEGuide(model), given, **ONE).history


def test_a_model_without_a_mask_is_not_told_of_one() -> None:
    with pytest.raises(NonFiniteError) as raised:
        fit(*conjugate(), torch.full((4,), math.nan), **ONE)
    assert "mask=" not in raised.value.cure


def test_nan_that_a_mask_hides_is_legal() -> None:
    model = HMM(2, 2)
    paths, mask = torch.randn(6, 5, 2), torch.ones(6, 5, dtype=torch.bool)
    mask[0, 3:], paths[0, 3:] = False, math.nan
    assert fit(model, HMMGuide(model), (paths, mask), **ONE).history
    assert check(model, HMMGuide(model), paths, mask).sites


class Exploding(nn.Module):
    """A guide whose scale becomes infinite of itself; x has NaN, which nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, unread: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.loc / 0, 1.0).expand([len(x)]))


def test_nan_that_nothing_reads_is_not_blamed_for_another_fault() -> None:
    def model(x: Tensor, unread: Tensor) -> None:
        pairs.Conjugate()(x)

    with pytest.raises(NonFiniteError) as raised:
        fit(model, Exploding(), (data(), torch.full((100,), math.nan)), **ONE)
    assert raised.value.site == "z" and "learning rate" in raised.value.cure
