"""A convolutional LSTM: at once is step by step, and each place reads its neighbourhood."""

from __future__ import annotations

import pytest
import torch

from ppl_models.networks import LSTM, ConvLSTM, beside, over_maps
from tests.videos import assert_alike, gradients

SIDE = 6


def test_a_whole_sequence_is_one_step_after_another() -> None:
    part = ConvLSTM(2, 3, SIDE).double()
    x = torch.randn(2, 4, 5, 2 * SIDE * SIDE).double()
    state, steps = part.start((2, 4), x), []
    for frame in x.unbind(-2):
        state = part.step(frame, state)
        steps.append(state[0])
    whole, stepped = part(x), torch.stack(steps, -2)
    assert whole.shape == (2, 4, 5, 3 * SIDE * SIDE)
    assert_alike(whole, stepped, 1e-12)
    weight = torch.randn_like(whole)
    found = [gradients((out * weight).sum(), part) for out in (whole, stepped)]
    assert_alike(*found, 1e-10)
    assert part(x[..., :0, :]).shape == (2, 4, 0, 3 * SIDE * SIDE)


def test_on_one_pixel_it_is_an_lstm() -> None:
    """With maps of 1 x 1 only the middles of kernels count: torch's LSTM, forget bias one up."""
    part, other = ConvLSTM(2, 3, 1).double(), LSTM(2, 3).double()
    cell = other.cell
    order = torch.cat([torch.arange(6), torch.arange(9, 12), torch.arange(6, 9)])  # i, f, o, g
    with torch.no_grad():
        cell.weight_ih_l0[order] = part.read.weight[..., 1, 1]
        cell.weight_hh_l0[order] = part.carry.weight[..., 1, 1]
        cell.bias_ih_l0[order] = part.read.bias
        cell.bias_hh_l0.zero_()[3:6] = 1.0
    x = torch.randn(4, 7, 2).double()
    assert_alike(part(x), other(x), 1e-12)


@pytest.mark.parametrize(("kernel_side", "reach"), [(1, 0), (3, 1), (5, 2)])
def test_a_frame_reaches_its_neighbourhood_and_the_next_one_twice_that(
    kernel_side: int, reach: int
) -> None:
    part = ConvLSTM(1, 1, 9, kernel_side=kernel_side).double()
    x = torch.randn(1, 2, 81).double()
    other = x.clone()
    other[0, 0, 4 * 9 + 4] += 1
    moved = (part(x) - part(other)).abs().view(2, 9, 9) > 0
    for frame, far in enumerate((reach, 2 * reach)):
        rows, columns = moved[frame].nonzero().T
        assert int(rows.min()) == int(columns.min()) == 4 - far
        assert int(rows.max()) == int(columns.max()) == 4 + far


def test_maps_stand_beside_one_another_in_every_batch_dim() -> None:
    a, b = torch.randn(3, 1, 2, 4, 4), torch.randn(5, 1, 4, 4)
    both = beside(a, b)
    assert both.shape == (3, 5, 3, 4, 4)
    assert torch.equal(both[1, 2], torch.cat([a[1, 0], b[2]]))
    pool = torch.nn.MaxPool2d(2)
    assert torch.equal(over_maps(pool, both)[1, 2], pool(both[1, 2]))
