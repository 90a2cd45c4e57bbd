"""Networks take any leading batch dims, and the step form of the LSTM is the fused one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ppl_models.networks.mlp import LSTM, MLP, Conditional, ConditionalNormal, ResidualMLP


def test_mlp_has_no_activation_after_the_last_layer() -> None:
    net = MLP(3, 5, 2)
    assert [type(layer).__name__ for layer in net] == ["Linear", "Tanh", "Linear"]
    assert net(torch.zeros(4, 2, 7, 3)).shape == (4, 2, 7, 2)


@pytest.mark.parametrize("sizes", [(), (3,), (3, 0)])
def test_mlp_says_which_sizes_it_wants(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="two or more sizes"):
        MLP(*sizes)


@pytest.mark.parametrize("batch", [(), (2,), (3, 2), (2, 3, 1, 2)])
def test_lstm_flattens_leading_dims(batch: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    net, x = LSTM(3, 5), torch.randn(*batch, 7, 3)
    out = net(x)
    assert out.shape == (*batch, 7, 5)
    index = (0,) * len(batch)
    assert torch.allclose(out[index], net(x[index]), atol=1e-6)


def test_lstm_steps_equal_the_fused_sequence() -> None:
    torch.manual_seed(0)
    net, x = LSTM(3, 5), torch.randn(4, 2, 7, 3)
    state, outputs = net.start((4, 2), x), []
    for frame in x.unbind(-2):
        state = net.step(frame, state)
        outputs.append(state[0])
    assert torch.allclose(torch.stack(outputs, -2), net(x), atol=1e-6)


def test_backward_lstm_looks_ahead_only() -> None:
    torch.manual_seed(0)
    net, x = LSTM(2, 3, backward=True), torch.randn(6, 2, requires_grad=True)
    (grad,) = torch.autograd.grad(net(x)[3].sum(), x)
    assert torch.all(grad[:3] == 0) and torch.all(grad[3:].abs().sum(-1) > 0)


def test_backward_lstm_starts_at_the_last_existing_frame() -> None:
    torch.manual_seed(0)
    net, x = LSTM(2, 3, backward=True), torch.randn(2, 6, 2)
    mask = torch.tensor([[True] * 4 + [False] * 2, [True] * 6])
    assert torch.allclose(net(x, mask)[0, :4], net(x[0, :4]), atol=1e-6)
    assert torch.allclose(net(x, mask)[1], net(x[1]), atol=1e-6)


@pytest.mark.parametrize("input_dim", [0, 2])
def test_conditional_normal_steps_equal_the_whole(input_dim: int) -> None:
    torch.manual_seed(0)
    net = ConditionalNormal(3, input_dim, (5, 4), 2, floor=0.1)
    c, u = torch.randn(4, 1, 7, 3), torch.randn(2, 7, input_dim) if input_dim else None
    mean, scale = net(c, u)
    assert mean.shape == ((4, 2, 7, 2) if input_dim else (4, 1, 7, 2))
    assert torch.all(scale > 0.1)
    at = net.step(net.project(c)[..., 3, :], None if u is None else u[..., 3, :])
    assert torch.allclose(at[0], mean[..., 3, :], atol=1e-6)
    assert torch.allclose(at[1], scale[..., 3, :], atol=1e-6)


def test_a_residual_mlp_begins_near_its_first_layer_and_refuses_what_it_cannot_add() -> None:
    net = ResidualMLP(5, 7, 7, 7, 3)
    assert net(torch.randn(2, 4, 5)).shape == (2, 4, 3)
    for block in list(net)[2:-1]:
        nn.init.zeros_(block.linear.weight)
        nn.init.zeros_(block.linear.bias)
    x = torch.randn(6, 5)
    assert torch.equal(net(x), nn.Sequential(net[0], net[1], net[-1])(x))
    for sizes in ((5, 3), (5, 7, 6, 3), (5, 0, 3)):
        with pytest.raises(ValueError, match="three or more sizes"):
            ResidualMLP(*sizes)


def test_what_a_context_adds_can_be_computed_before_a_loop() -> None:
    net = Conditional(3, 5, (4,), 2)
    c, u = torch.randn(7, 3), torch.randn(7, 5)
    assert torch.equal(net.step(net.project(c), u), net(c, u))
