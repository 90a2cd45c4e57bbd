from __future__ import annotations

import torch

from inference.diagnostics.resample import resample, systematic


def test_every_draw_comes_as_often_as_its_weight_says():
    weights = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)).double()
    weights = weights / weights.sum(0)
    index = systematic(weights.log(), 1000)
    counts = torch.stack([torch.bincount(column, minlength=50) for column in index.T], 1)
    # systematic: the floor or the ceiling of 1000 w, whatever the seed
    assert ((counts - 1000 * weights).abs() < 1).all() and (counts.sum(0) == 1000).all()


def test_each_element_of_an_axis_has_its_own_draws():
    values = torch.arange(24.0).reshape(4, 2, 3)  # 4 draws, 2 of something, 3 data
    index = torch.tensor([[0, 1, 2], [3, 3, 3]])
    found = resample(values, index, 2)
    assert found.shape == (2, 2, 3)
    assert torch.equal(found[0, :, 1], values[1, :, 1]) and torch.equal(found[1], values[3])
    assert torch.equal(resample(values, index[:, :1], None), values[[0, 3]])


def test_a_single_draw_is_chosen_by_its_weight_and_columns_are_independent():
    torch.manual_seed(0)
    two = torch.tensor([0.3, 0.7]).double().log()[:, None].expand(2, 4000)
    one = systematic(two, 1)[0].double()
    assert abs(float(one.mean()) - 0.7) < 4 * (0.21 / 4000) ** 0.5
    even = torch.full((1000, 2), 1e-3).double().log()
    index = systematic(even, 1000).double()
    # unshuffled columns would agree row by row; independent ones correlate to 1 / sqrt(1000)
    assert abs(float(torch.corrcoef(index.T)[0, 1])) < 4 / 1000**0.5
