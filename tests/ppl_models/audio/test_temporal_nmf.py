from __future__ import annotations

import pytest
import torch

from ppl_models.audio import TemporalNMF
from tests.ppl_models.audio.test_nmf import hard
from tests.sounds import F


def test_continuity_makes_activations_smoother_and_nothing_else_changes_it() -> None:
    power = hard(3, 40)[0] + 0.1
    rough, smooth = (TemporalNMF(F, 3, continuity=a).double() for a in (0.0, 3.0))
    smooth.load_state_dict(rough.state_dict())

    def change(model: TemporalNMF) -> float:
        h = model.activations(power, iterations=100)
        return float((h.diff(dim=-2).square().sum(-2) / h.square().sum(-2)).mean())

    assert change(smooth) < 0.5 * change(rough)
    h = rough.activations(power)
    assert torch.allclose(
        smooth.log_factor(h, None), smooth.log_factor(100 * h, None)
    )  # whatever the scale
    assert smooth.log_factor(torch.ones(7, 3), None).item() == 0.0


def test_the_continuity_is_virtanen_s() -> None:
    model = TemporalNMF(F, 1, continuity=0.7)
    h = torch.tensor([[1.0], [3.0], [2.0]])
    assert model.log_factor(h, None).item() == pytest.approx(-0.7 * 3 * (4 + 1) / (1 + 9 + 4))
    mask = torch.tensor([True, True, False])
    assert model.log_factor(h, mask).item() == pytest.approx(-0.7 * 2 * 4 / (1 + 9))
