"""How a model is called, and what may land where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Optional

import pytest
import torch
from torch import Tensor, nn

from inference.tracing.arguments import argument_names, check_call, named, refuse_labels
from inference.tracing.bind import FunctionModule
from ppl_models import InputError

LABELS = torch.arange(5)


def plain(x: Any, y: Any = None, size: int = 1, mask: Any = None) -> None:
    pass


class Model(nn.Module):
    def forward(self, x: Tensor, y: Tensor | None = None, *, size: int | None = None) -> None:
        pass


def gathers(*x: Tensor, mask: Tensor | None = None, size: int = 1) -> None:
    pass


def test_names_are_those_of_positional_arguments() -> None:
    assert argument_names(plain) == ("x", "y", "size", "mask")
    assert argument_names(Model()) == ("x", "y")
    assert argument_names(gathers) == ()
    assert argument_names(FunctionModule(plain, {})) == argument_names(plain)
    assert list(named((1, 2), {"z": 3}, ("x",))) == [("x", 1), ("argument 1", 2), ("z", 3)]


RIGHT: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    (plain, (LABELS, LABELS), {}),
    (plain, (LABELS, LABELS, 3, torch.ones(5)), {}),
    (plain, (LABELS,), {"size": torch.tensor(3), "mask": LABELS > 2}),
    (gathers, (LABELS,) * 4, {"mask": LABELS[:2]}),
    (Model(), (LABELS, LABELS), {"size": 3}),
]


@pytest.mark.parametrize("case", range(len(RIGHT)))
def test_data_where_data_belong_pass(case: int) -> None:
    function, args, kwargs = RIGHT[case]
    refuse_labels(function, args, kwargs)


def annotated(x: Tensor, count: Optional[int], flag: "bool" = False) -> None:  # noqa: UP045, UP037
    pass


WRONG: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], str]] = [
    (plain, (LABELS, None, LABELS), {}, "size"),
    (plain, (LABELS,), {"size": LABELS}, "size"),
    (plain, (LABELS, None, 1, LABELS), {}, "mask"),
    (Model(), (LABELS,), {"size": LABELS}, "size"),
    (gathers, (LABELS,), {"size": LABELS}, "size"),
    (annotated, (LABELS, 1, LABELS), {}, "flag"),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_rows_where_a_number_or_a_mask_belongs_are_refused(case: int) -> None:
    function, args, kwargs, argument = WRONG[case]
    with pytest.raises(InputError) as raised:
        refuse_labels(function, args, kwargs)
    assert raised.value.argument == argument and "leave" in raised.value.cure


def test_a_call_that_does_not_fit_is_told_from_one_that_does() -> None:
    check_call("model", plain, (LABELS,), {})
    with pytest.raises(InputError, match="what the guide takes"):
        check_call("guide", Model(), (LABELS,) * 3, {})
