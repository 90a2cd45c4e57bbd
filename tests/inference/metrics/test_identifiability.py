from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from inference.metrics import mean_correlation
from ppl_models.errors import InputError


def test_order_sign_scale_and_further_codes_do_not_count() -> None:
    sources = torch.randn(200, 3)
    codes = torch.cat([sources[:, [2, 0, 1]] * torch.tensor([-2.0, 0.1, 5.0]) + 3, sources], 1)
    assert mean_correlation(codes, sources) == pytest.approx(1.0)


def test_a_rotation_by_hand_and_each_source_has_a_code_of_its_own() -> None:
    sources = torch.linalg.qr(torch.cat([torch.ones(50, 1), torch.randn(50, 2)], 1)).Q[:, 1:]
    turn = torch.tensor([[math.cos(0.3), -math.sin(0.3)], [math.sin(0.3), math.cos(0.3)]])
    assert mean_correlation(sources @ turn, sources) == pytest.approx(math.cos(0.3), abs=1e-5)
    codes = torch.stack([sources[:, 0] + 0.01 * sources[:, 1], sources[:, 0]], 1)
    assert mean_correlation(codes, sources) == pytest.approx(0.5, abs=0.01)


def test_ranks_are_those_of_scipy_and_see_through_monotone_functions() -> None:
    sources = torch.randn(300, 1)
    assert mean_correlation(sources.exp().pow(3), sources, rank=True) == pytest.approx(1.0)
    noisy = sources + torch.randn(300, 1)
    known = abs(spearmanr(np.asarray(noisy[:, 0]), np.asarray(sources[:, 0])).statistic)
    assert mean_correlation(noisy, sources, rank=True) == pytest.approx(known)


@pytest.mark.parametrize(
    ("codes", "sources"),
    [
        (torch.zeros(4, 1), torch.zeros(4, 2)),
        (torch.zeros(4), torch.zeros(4)),
        (torch.zeros(1, 1), torch.zeros(1, 1)),
        (torch.full((4, 1), torch.nan), torch.zeros(4, 1)),
    ],
)
def test_what_cannot_be_compared_is_refused(codes: torch.Tensor, sources: torch.Tensor) -> None:
    with pytest.raises(InputError, match="codes"):
        mean_correlation(codes, sources)


def test_a_constant_code_has_no_correlation() -> None:
    assert mean_correlation(torch.ones(9, 1), torch.randn(9, 1)) == 0.0
