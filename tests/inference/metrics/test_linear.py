from __future__ import annotations

import torch

from inference.metrics.linear import amari_distance, principal_angles


def test_angles_are_those_the_spans_were_turned_by() -> None:
    angles = torch.tensor([1e-5, 0.3])
    first = torch.eye(6)[:, :2]
    second = first * angles.cos() + torch.eye(6)[:, 2:4] * angles.sin()
    mixed = second @ torch.tensor([[2.0, 1.0], [0.5, -3.0]])
    assert torch.allclose(principal_angles(first, mixed).float(), angles, rtol=1e-3)
    assert principal_angles(first, first @ torch.randn(2, 2)).max() < 1e-6


def test_order_signs_and_lengths_do_not_count_in_amari_s_distance() -> None:
    weight = torch.randn(4, 4)
    same = weight[:, [2, 0, 3, 1]] * torch.tensor([2.0, -0.1, 5.0, -1.0])
    assert amari_distance(same, weight) < 1e-5
    assert 0.05 < amari_distance(torch.randn(4, 4), weight) <= 1
    assert amari_distance(torch.eye(4), torch.ones(4, 4)) == 1  # every source in every column
