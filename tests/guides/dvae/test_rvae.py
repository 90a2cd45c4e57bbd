"""The guide of the recurrent VAE: one LSTM less where it is causal."""

from __future__ import annotations

import torch
from torch import Tensor

from guides.dvae.rvae import RVAEGuide
from ppl_models.dvae.rvae import RVAE


def test_a_causal_rvae_s_guide_has_no_onward_lstm() -> None:
    def count(causal: bool) -> int:
        return sum(isinstance(m, torch.nn.LSTM) for m in guide(causal).modules())

    def guide(causal: bool) -> RVAEGuide:
        return RVAEGuide(RVAE(3, 2, causal=causal))

    assert (count(True), count(False)) == (2, 3)
    mean: Tensor = guide(True)(torch.zeros(2, 5, 3))
    assert mean.shape == (2, 5, 2)
