from __future__ import annotations

import pytest
import torch

from ppl_models import InputError
from ppl_models.data import cube


@pytest.mark.parametrize(("num_contexts", "num_bits"), [(5, 3), (3, 2)])
def test_the_block_of_the_context_spells_the_label(num_contexts: int, num_bits: int) -> None:
    data = cube(500, num_contexts=num_contexts, num_bits=num_bits, flip=0.0)
    context, label = data.x[:, 0].long(), data.x[:, -1].long()
    blocks = data.x[:, 1:-1].unflatten(1, (num_contexts, num_bits))
    right = blocks[torch.arange(500), context].long()
    assert torch.equal((right << torch.arange(num_bits)).sum(1), label)
    assert data.names[0] == "context" and data.names[-1] == "label"
    assert data.names[1] == "b1.1" and len(data.names) == data.x.shape[1]
    assert int(context.max()) == num_contexts - 1 and int(label.max()) == 2**num_bits - 1


def test_bits_are_flipped_as_often_as_asked_and_other_blocks_are_coins() -> None:
    noisy = cube(4000, flip=0.2)
    context, label = noisy.x[:, 0].long(), noisy.x[:, -1].long()
    blocks = noisy.x[:, 1:-1].unflatten(1, (5, 3)).long()
    wrong = blocks != ((label[:, None] >> torch.arange(3)) & 1)[:, None]
    own = torch.nn.functional.one_hot(context, 5).bool()
    assert wrong[own].double().mean().item() == pytest.approx(0.2, abs=0.015)  # of 12,000 bits
    assert wrong[~own].double().mean().item() == pytest.approx(0.5, abs=0.01)
    assert not torch.equal(noisy.x, cube(4000, flip=0.2, seed=1).x)


def test_what_cannot_be_drawn_is_an_error() -> None:
    for settings in ({"flip": 0.5}, {"num_bits": 0}, {"num_contexts": 0}):
        with pytest.raises(InputError):
            cube(5, **settings)
    with pytest.raises(InputError):
        cube(0)
