"""The rivals of the overhead benchmark compute what the models do."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.overhead import frame_srnn, plain_recursions, plain_srnn, sequence_srnn


@pytest.mark.parametrize("kind", ["trace", "meanfield"])
def test_the_plain_srnn_has_the_loss_of_the_model(kind: str) -> None:
    """Same weights (seed 0), other draws: means over 30 draws agree to 5 standard errors."""
    s = torch.randn(64, 10, 4, generator=torch.Generator().manual_seed(1))
    rivals: list[Any] = [plain_srnn(s, kind == "meanfield"), sequence_srnn(s, kind)]
    if kind == "trace":
        rivals.append(frame_srnn(s))
    draws: list[torch.Tensor] = []
    for rival in rivals:
        torch.manual_seed(2)
        draws.append(torch.stack([torch.as_tensor(rival.loss()) for _ in range(30)]).detach())
    for other in draws[1:]:
        error = (draws[0].var() / 30 + other.var() / 30).sqrt()
        assert (draws[0].mean() - other.mean()).abs() < 5 * error


def test_the_plain_recursions_run() -> None:
    assert plain_recursions(torch.randn(3, 5, 4))().shape == (3, 5, 4)
