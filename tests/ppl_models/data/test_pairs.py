from __future__ import annotations

import pytest
import torch

from ppl_models.data.pairs import broken_pairs, partners
from ppl_models.errors import InputError


def test_partners_have_the_label_and_all_are_taken_before_one_is_taken_again() -> None:
    labels, others = torch.randint(3, (200,)), torch.arange(30) % 3
    chosen = partners(labels, others)
    assert torch.equal(others[chosen], labels)
    for label in range(3):
        taken = chosen[labels == label].bincount(minlength=30)[others == label]
        assert taken.max() - taken.min() <= 1
    assert torch.equal(chosen, partners(labels, others))
    assert not torch.equal(chosen, partners(labels, others, seed=1))


def test_a_label_without_a_partner_is_named() -> None:
    with pytest.raises(InputError, match="none of label 2"):
        partners(torch.tensor([0, 2]), torch.tensor([0, 1]))


def test_a_broken_pair_keeps_one_modality_any_of_them_as_likely() -> None:
    mask = broken_pairs(1000, 0.99, 3)
    assert int(mask.all(1).sum()) == 10 and set(mask.sum(1).tolist()) == {1, 3}
    left = mask[mask.sum(1) == 1].double().mean(0)
    assert (left - 1 / 3).abs().max() < 5 * (2 / 9 / 990) ** 0.5  # 5 s.e.
    assert torch.equal(mask, broken_pairs(1000, 0.99, 3))
    assert broken_pairs(10, 0.0).all()
    with pytest.raises(InputError, match="share"):
        broken_pairs(10, 99)
