"""Attention in windows equals dense attention with a mask, step by step too, in linear memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ppl_models.errors import InputError
from ppl_models.networks.attention import Transformer, WindowAttention

C, HEADS, WINDOW = 6, 2, 4
CAUSAL = pytest.mark.parametrize("causal", [True, False])
LENGTHS = pytest.mark.parametrize("length", [1, 3, 4, 8, 9, 12, 17])


def layer(causal: bool, dim: int = C) -> WindowAttention:
    attention = WindowAttention(dim, HEADS, WINDOW, causal).double()
    torch.nn.init.normal_(attention.bias)
    return attention


def dense(attention: WindowAttention, x: Tensor, y: Tensor, mask: Tensor | None) -> Tensor:
    """The same attention, from one matrix of all scores, a head at a time."""
    length, size = x.shape[-2], C // HEADS
    ago = torch.arange(length)[:, None] - torch.arange(length)
    visible = (ago < WINDOW) & (ago >= 0 if attention.causal else ago > -WINDOW)
    visible = visible if mask is None else visible & mask[:, None, :]
    query = attention.query(x)
    key, value = attention.of_y(y).chunk(2, -1)
    heads = []
    for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        scores = query[..., part] @ key[..., part].mT / size**0.5
        distance = ago if attention.causal else ago + WINDOW - 1
        scores = scores + attention.bias[head][distance.clamp(0, attention.bias.shape[1] - 1)]
        weights = scores.masked_fill(~visible, float("-inf")).softmax(-1)
        heads.append(weights @ value[..., part])
    return attention.out(torch.cat(heads, -1))


@LENGTHS
@CAUSAL
def test_windows_are_dense_attention_with_a_mask(causal: bool, length: int) -> None:
    attention = layer(causal)
    x, y = torch.randn(2, 2, length, C).double().requires_grad_().unbind()
    found, wanted = attention(x, y), dense(attention, x, y, None)
    assert torch.allclose(found, wanted)
    weight = torch.randn_like(found)
    parameters = list(attention.parameters())
    a, b = (torch.autograd.grad((out * weight).sum(), parameters) for out in (found, wanted))
    assert all(torch.allclose(p, q, atol=1e-9) for p, q in zip(a, b, strict=True))
    assert torch.allclose(attention(x), dense(attention, x, x, None))


@CAUSAL
def test_padding_is_not_attended_to(causal: bool) -> None:
    attention, x = layer(causal), torch.randn(3, 17, C).double()
    mask = torch.arange(17) < torch.tensor([[17], [6], [2]])
    found = attention(x, mask=mask)
    for row, length in enumerate((17, 6, 2)):
        assert torch.allclose(found[row, :length], attention(x[row : row + 1, :length])[0])
    other = torch.where(mask[..., None], x, 7.0)
    assert torch.allclose(attention(other, mask=mask)[mask], found[mask])
    assert torch.isfinite(found).all()


@LENGTHS
def test_one_frame_after_another_is_the_whole(length: int) -> None:
    attention = layer(True)
    x, y = torch.randn(2, 2, 3, length, C).double()
    state: Any = attention.start((2, 3), x)
    outputs = []
    for t in range(length):
        state = attention.step(x[..., t, :], y[..., t, :], state)
        outputs.append(state[0])
    assert torch.allclose(torch.stack(outputs, -2), attention(x, y))
    assert state[1].shape[-2] == min(length, WINDOW)  # no more is kept than can be seen


@pytest.mark.parametrize("crossed", [True, False])
def test_a_transformer_steps_as_it_reads(crossed: bool) -> None:
    network = Transformer(C, 2, heads=HEADS, window=WINDOW, crossed=crossed).double()
    x = torch.randn(2, 9, C * (1 + crossed)).double()
    state: Any = network.start((2,), x)
    outputs = []
    for t in range(9):
        state = network.step(x[:, t], state)
        outputs.append(state[0])
    assert torch.allclose(torch.stack(outputs, 1), network(x))
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_layer_starts_where_it_was_only_in_evaluation_with_dropout() -> None:
    network, x = Transformer(C, 1, heads=HEADS, dropout=0.5), torch.randn(2, 5, C)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


def kept(length: int, causal: bool) -> tuple[int, int]:
    """Numbers saved for the backward pass: of the largest tensor, and of all."""
    sizes: list[int] = []

    def save(x: Tensor) -> Tensor:
        sizes.append(x.numel())
        return x

    attention = layer(causal)
    x = torch.randn(1, length, C).double().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(save, lambda x: x):
        attention(x)
    return max(sizes), sum(sizes)


@CAUSAL
def test_memory_grows_with_the_length_and_no_faster(causal: bool) -> None:
    (largest, total), (largest_of_twice, total_of_twice) = kept(200, causal), kept(400, causal)
    assert largest_of_twice <= 2 * largest and total_of_twice <= 2 * total


def test_a_window_of_nothing_is_named() -> None:
    with pytest.raises(InputError, match="window"):
        WindowAttention(C, HEADS, 0, True)
