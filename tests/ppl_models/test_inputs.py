from __future__ import annotations

import numpy as np
import pytest
import torch

from ppl_models.errors import InputError
from ppl_models.inputs import check_widths, count_rows, spread_out


def test_counts_rows() -> None:
    assert count_rows(torch.zeros(5, 3), 3) == 5


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(5, 2), r"\(5, 2\)"),
        (torch.zeros(3), r"\(3,\)"),
        (torch.zeros(0, 3), r"\(0, 3\)"),
        (torch.zeros(2, 5, 3), r"\(2, 5, 3\)"),
        (np.zeros((5, 3)), "ndarray"),
        (None, "NoneType"),
    ],
)
def test_other_shapes_are_named(x: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        count_rows(x, 3)


@pytest.mark.parametrize("widths", [(), (8,), [8, 4]])
def test_widths_of_hidden_layers_are_any_sequence_of_counts(widths: list[int]) -> None:
    assert check_widths(widths) == tuple(widths)


@pytest.mark.parametrize("widths", [8, "8", (8, 0), (8.0,), None])
def test_widths_that_are_no_counts_are_named(widths: object) -> None:
    with pytest.raises(InputError, match="hidden_dims: saw"):
        check_widths(widths)  # type: ignore[arg-type]


def test_widths_have_a_least_one() -> None:
    with pytest.raises(InputError, match="at least 3"):
        check_widths((4, 2), "layers", least=3)


def test_centres_are_rows_of_different_clusters(untouched: None) -> None:
    x = 10 * torch.eye(4).repeat(25, 1)
    for seed in range(5):
        centres = spread_out(x, 4, seed)
        assert torch.equal(centres.sum(0), torch.full((4,), 10.0))
        assert torch.equal(centres, spread_out(x, 4, seed))


def test_equal_rows_do() -> None:
    assert torch.equal(spread_out(torch.ones(5, 2), 3, 0), torch.ones(3, 2))
