"""The guide of the deep Kalman filter, read step by step."""

from __future__ import annotations

import torch

from guides.dvae.dkf import DKFGuide
from ppl_models.dvae.dkf import DKF
from tests.sequences import chain_of, paths


def test_the_combiner_of_a_dkf_is_krishnan_s() -> None:
    """(tanh(net(z_{t-1})) + g_t) / 2, or / 3 with an onward LSTM beside the backward one."""
    model = DKF(3, 2).double()
    s, z = (paths(model, 1, 4)[name] for name in ("s", "z"))
    for both_ways in (False, True):
        guide = DKFGuide(model, both_ways=both_ways).double()
        read = guide.reader(s)
        g = guide.backward(read) + (guide.onward(read) if guide.onward is not None else 0)
        mean, scale = chain_of(guide, s).moments(z)
        for t in range(4):
            before = z[:, t - 1] if t else torch.zeros_like(z[:, 0])
            combined = (guide.latent_reader(before) + g[:, t]) / (3 if both_ways else 2)
            wanted = guide.encoder(combined)
            assert torch.allclose(mean[:, t], wanted[0]) and torch.allclose(scale[:, t], wanted[1])
