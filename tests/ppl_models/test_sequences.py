"""Sequences: padding, pasts, checks, and what every model of them does with a batch."""

from __future__ import annotations

import pytest
import torch

from ppl_models.errors import InputError
from ppl_models.sequences import SequenceModel, check_paths, clean, sequence_plate, shift


def test_the_past_of_the_first_frame_is_zero() -> None:
    s = torch.randn(2, 5, 3)
    assert torch.all(shift(s)[:, 0] == 0) and torch.equal(shift(s)[:, 1:], s[:, :-1])


def test_a_model_of_sequences_needs_a_path() -> None:
    model = SequenceModel()
    model.data_dim = 3
    with pytest.raises(NotImplementedError):
        model(size=2, length=3)


def test_clean_zeros_missing_frames() -> None:
    s, mask = torch.full((1, 3, 2), float("nan")), torch.zeros(1, 3, dtype=torch.bool)
    assert torch.all(clean(s, mask) == 0) and clean(s, None) is s


@pytest.mark.parametrize(
    ("s", "mask", "says"),
    [
        (torch.zeros(5, 4), None, "paths, frames, 4"),
        (torch.zeros(2, 5, 3), None, "paths, frames, 4"),
        (torch.zeros(0, 5, 4), None, "paths, frames, 4"),
        (torch.zeros(2, 5, 4), torch.ones(2, 5), "torch.bool"),
        (torch.zeros(2, 5, 4), torch.ones(5, dtype=torch.bool), "torch.bool"),
        (torch.zeros(1, 3, 4), torch.tensor([[True, False, True]]), "existing frames first"),
    ],
)
def test_paths_of_a_wrong_form_are_refused(s, mask, says: str) -> None:
    with pytest.raises(InputError, match=says):
        check_paths(s, mask, 4)


def test_data_are_called_in_an_error_as_the_model_calls_them() -> None:
    bad = torch.full((1, 2, 3), float("nan"))
    with pytest.raises(InputError, match="^noisy: saw NaN"):
        check_paths(bad, None, 3, argument="noisy")
    with (
        pytest.raises(InputError, match="^o: saw shape"),
        sequence_plate(bad, None, 4, argument="o"),
    ):
        pass
