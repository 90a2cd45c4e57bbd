"""Whether a loss written by hand, in plain torch, is that of a pair: for tests of benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from inference.randomness import seeded

Losses = Mapping[str, tuple[Callable[[], Tensor], tuple[Any, Any]]]


def assert_same_gradients(losses: Losses) -> None:
    """Compare two losses of copies of one pair, by name with their pair, for the same noise."""
    grads = []
    for loss, pair in losses.values():
        with seeded(1):
            value = loss()
        grads.append(torch.autograd.grad(value, list(nn.ModuleList(pair).parameters())))
    size = max(float(grad.abs().max()) for grad in grads[0])
    for mine, theirs in zip(*grads, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-3, atol=1e-5 * size)
