from __future__ import annotations

from typing import Any

import pytest
import torch

from ppl_models.errors import InputError
from ppl_models.likelihoods.basic import Bernoulli, Gaussian
from ppl_models.modalities import as_likelihoods, read_rows

WIDTHS = {"image": 3, "sound": 2}
IMAGE, SOUND = torch.ones(4, 3), torch.ones(4, 2)
MASK = torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0]]).bool()


def test_positions_and_names_give_the_same_rows() -> None:
    for given, named in (
        ((IMAGE, SOUND), {}),
        ((IMAGE,), {"sound": SOUND}),
        ((), {"sound": SOUND, "image": IMAGE}),
    ):
        rows = read_rows(WIDTHS, given, named, None, None, 1)
        assert rows.values["image"] is IMAGE and rows.values["sound"] is SOUND
        assert rows.mask is None and rows.observed is None and rows.size == 4 and rows.has_data


def test_padding_becomes_zeros_and_what_is_there_stays() -> None:
    image = torch.where(MASK[:, :1], IMAGE, torch.nan)
    rows = read_rows(WIDTHS, (image, SOUND), {}, MASK, None, 1)
    assert torch.equal(rows.values["image"], IMAGE * MASK[:, :1])
    assert torch.equal(rows.values["sound"], SOUND * MASK[:, 1:])
    assert torch.equal(rows.mask_of(0), MASK[:, 0]) and torch.equal(rows.observed_of(1), MASK[:, 1])


def test_what_is_not_given_is_missing_in_every_row() -> None:
    rows = read_rows(WIDTHS, (IMAGE, None), {}, None, None, 1)
    assert rows.values["sound"] is None
    assert torch.equal(rows.mask, torch.tensor([True, False]).expand(4, 2))
    assert rows.observed is rows.mask


def test_what_is_observed_and_not_scored_is_no_padding() -> None:
    observed = torch.ones(4, 2, dtype=torch.bool)
    rows = read_rows(WIDTHS, (IMAGE, SOUND), {}, MASK, observed, 1)
    assert torch.equal(rows.values["image"], IMAGE) and torch.equal(rows.mask, MASK)


def test_without_data_there_are_as_many_rows_as_asked_for_and_nothing_is_observed() -> None:
    rows = read_rows(WIDTHS, (), {}, None, None, 5)
    assert rows.size == 5 and not rows.has_data and rows.mask is None
    assert rows.observed is not None and not rows.observed.any()


@pytest.mark.parametrize(
    ("given", "named", "masks", "message"),
    [
        ((IMAGE, SOUND, SOUND), {}, {}, "3 modalities"),
        ((IMAGE,), {"sonud": SOUND}, {}, "a modality 'sonud'"),
        ((IMAGE,), {"image": IMAGE}, {}, "'image' twice"),
        ((IMAGE, SOUND[:3]), {}, {}, "sound: saw 3 rows"),
        ((SOUND, SOUND), {}, {}, "image: saw shape"),
        ((IMAGE, SOUND), {}, {"mask": MASK.float()}, "torch.bool of shape"),
        ((IMAGE, SOUND), {}, {"mask": MASK[:3]}, "torch.bool of shape"),
        ((IMAGE, SOUND), {}, {"observed": MASK[:, :1]}, "observed: saw"),
        ((IMAGE, SOUND), {}, {"mask": [True]}, "mask: saw list"),
        ((IMAGE, None), {}, {"mask": MASK}, "rows with 'sound'"),
    ],
)
def test_what_is_wrong_is_named(given: Any, named: Any, masks: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_rows(WIDTHS, given, named, masks.get("mask"), masks.get("observed"), 1)


def test_a_number_stands_for_a_gaussian() -> None:
    bits = Bernoulli(3)
    parts = as_likelihoods({"image": bits, "sound": 2})
    assert parts["image"] is bits and isinstance(parts["sound"], Gaussian)


@pytest.mark.parametrize(
    "wrong", [{}, {"mask": 2}, {"size": 2}, {"z_a": 2}, {"train": 2}, {"a": "gaussian"}]
)
def test_names_that_are_taken_and_parts_that_are_none_are_refused(wrong: Any) -> None:
    with pytest.raises(InputError, match="modalities"):
        as_likelihoods(wrong)
