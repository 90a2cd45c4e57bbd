from __future__ import annotations

import torch

from ppl_models.inputs import spread_out


def test_centres_are_rows_of_different_clusters(untouched: None) -> None:
    x = 10 * torch.eye(4).repeat(25, 1)
    for seed in range(5):
        centres = spread_out(x, 4, seed)
        assert torch.equal(centres.sum(0), torch.full((4,), 10.0))
        assert torch.equal(centres, spread_out(x, 4, seed))


def test_equal_rows_do() -> None:
    assert torch.equal(spread_out(torch.ones(5, 2), 3, 0), torch.ones(3, 2))
