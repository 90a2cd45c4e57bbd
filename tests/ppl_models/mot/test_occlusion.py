from __future__ import annotations

import math

import pytest
import torch

from ppl_models.mot import border_factor, covered, covers


def box(x: float, y: float, w: float, h: float) -> list[float]:
    return [x, y, math.log(w), math.log(h)]


def test_the_one_whose_feet_are_lower_is_in_front() -> None:
    """Two boxes of 2 x 4; the second one is 1 to the right, and its feet are 1 lower."""
    boxes = torch.tensor([box(0, 0, 2, 4), box(1, 1, 2, 4), box(50, 0, 2, 4)])
    share = covers(boxes)
    assert share[0, 1].item() == pytest.approx(1 * 3 / 8)
    assert share.sum().item() == pytest.approx(3 / 8)


def test_one_that_is_covered_whole() -> None:
    boxes = torch.tensor([[box(0, 0, 1, 1), box(0, 0, 3, 3)]] * 2)
    assert covers(boxes)[0].tolist() == [[0.0, pytest.approx(1.0)], [0.0, 0.0]]


def test_equal_boxes_cover_nothing() -> None:
    assert covers(torch.tensor([box(0, 0, 1, 2)] * 3)).abs().max() == 0


def test_others_cover_as_if_independent_and_only_where_present() -> None:
    share = torch.tensor([0.5, 0.5, 0.0])
    assert covered(share, torch.tensor([1.0, 1.0, 1.0])).item() == pytest.approx(0.75)
    assert covered(share, torch.tensor([True, False, True])).item() == pytest.approx(0.5)
    assert covered(share, torch.zeros(3)).item() == 0


@pytest.mark.parametrize("border", [1.0, 3.0, 20.0])
def test_the_mean_of_births_over_the_image_is_one(border: float) -> None:
    """By the midpoint rule on 1,000 x 1,000 places, exact to 1e-4."""
    u = (torch.arange(1000) + 0.5).double() / 1000
    places = torch.cartesian_prod(200 * u - 50, 100 * u)
    boxes = torch.cat([places, torch.zeros_like(places)], -1)
    region = torch.tensor([[-50.0, 0, -1, -1], [150.0, 100, 1, 1]]).double()
    factor = border_factor(boxes, region, border)
    assert factor.mean().item() == pytest.approx(1, abs=1e-4)
    middle, edge = (
        border_factor(torch.tensor([x, 50.0, 0, 0]).double(), region, border) for x in (50.0, -80.0)
    )
    assert (edge / middle).item() == pytest.approx(border, rel=5e-3)  # e^-10 is left there
