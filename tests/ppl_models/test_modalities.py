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


def test_places_and_names_say_the_same() -> None:
    for given, named in (
        ((IMAGE, SOUND), {}),
        ((IMAGE,), {"sound": SOUND}),
        ((), {"sound": SOUND, "image": IMAGE}),
    ):
        rows = read_rows(WIDTHS, given, named, None, None, 1)
        assert rows.values["image"] is IMAGE and rows.values["sound"] is SOUND
        assert rows.told is None and rows.seen is None and rows.size == 4 and rows.observed


def test_padding_becomes_zeros_and_what_is_there_stays() -> None:
    image = torch.where(MASK[:, :1], IMAGE, torch.nan)
    rows = read_rows(WIDTHS, (image, SOUND), {}, MASK, None, 1)
    assert torch.equal(rows.values["image"], IMAGE * MASK[:, :1])
    assert torch.equal(rows.values["sound"], SOUND * MASK[:, 1:])
    assert torch.equal(rows.has(0), MASK[:, 0]) and torch.equal(rows.shows(1), MASK[:, 1])


def test_what_is_not_given_is_missing_in_every_row() -> None:
    rows = read_rows(WIDTHS, (IMAGE, None), {}, None, None, 1)
    assert rows.values["sound"] is None
    assert torch.equal(rows.told, torch.tensor([True, False]).expand(4, 2))
    assert rows.seen is rows.told


def test_what_is_looked_at_and_not_told_of_is_no_padding() -> None:
    seen = torch.ones(4, 2, dtype=torch.bool)
    rows = read_rows(WIDTHS, (IMAGE, SOUND), {}, MASK, seen, 1)
    assert torch.equal(rows.values["image"], IMAGE) and torch.equal(rows.told, MASK)


def test_without_data_there_are_as_many_rows_as_asked_for_and_nothing_is_seen() -> None:
    rows = read_rows(WIDTHS, (), {}, None, None, 5)
    assert rows.size == 5 and not rows.observed and rows.told is None
    assert rows.seen is not None and not rows.seen.any()


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
        ((IMAGE, SOUND), {}, {"seen": MASK[:, :1]}, "seen: saw"),
        ((IMAGE, SOUND), {}, {"mask": [True]}, "mask: saw list"),
        ((IMAGE, None), {}, {"mask": MASK}, "rows with 'sound'"),
    ],
)
def test_what_is_wrong_is_told(given: Any, named: Any, masks: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_rows(WIDTHS, given, named, masks.get("mask"), masks.get("seen"), 1)


def test_a_number_stands_for_a_gaussian() -> None:
    bits = Bernoulli(3)
    parts = as_likelihoods({"image": bits, "sound": 2})
    assert parts["image"] is bits and isinstance(parts["sound"], Gaussian)


@pytest.mark.parametrize("wrong", [{}, {"mask": 2}, {"z_a": 2}, {"train": 2}, {"a": "gaussian"}])
def test_names_that_are_taken_and_parts_that_are_none_are_refused(wrong: Any) -> None:
    with pytest.raises(InputError, match="modalities"):
        as_likelihoods(wrong)
