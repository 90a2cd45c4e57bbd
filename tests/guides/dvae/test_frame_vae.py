"""Guides of models whose frames read latents: networks as described, read step by step."""

from __future__ import annotations

import torch
from torch import Tensor

from guides.dvae.dkf import DKFGuide
from guides.dvae.dsae import DSAEGuide, last
from guides.dvae.rvae import RVAEGuide
from ppl_models.dvae.dkf import DKF
from ppl_models.dvae.dsae import DSAE
from ppl_models.dvae.rvae import RVAE
from tests.sequences import W, chain_of, paths


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


def test_the_last_output_is_that_of_the_last_frame_that_exists() -> None:
    outputs = torch.arange(12.0).reshape(2, 3, 2)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    assert torch.equal(last(outputs, mask), torch.stack([outputs[0, 2], outputs[1, 0]]))
    assert torch.equal(last(outputs, None), outputs[:, 2])


def test_v_of_a_dsae_does_not_hang_on_padding() -> None:
    model = DSAE(3, 2, global_dim=W).double()
    guide, s = DSAEGuide(model).double(), torch.randn(1, 6, 3).double()
    mask = torch.arange(6)[None] < 4
    alone = guide.encode_global(s[:, :4], None)
    padded = guide.encode_global(torch.where(mask[..., None], s, 0.0), mask)
    assert all(torch.allclose(a, b) for a, b in zip(alone, padded, strict=True))


def test_a_causal_rvae_s_guide_has_no_onward_lstm() -> None:
    def count(causal: bool) -> int:
        return sum(isinstance(m, torch.nn.LSTM) for m in guide(causal).modules())

    def guide(causal: bool) -> RVAEGuide:
        return RVAEGuide(RVAE(3, 2, causal=causal))

    assert (count(True), count(False)) == (2, 3)
    mean: Tensor = guide(True)(torch.zeros(2, 5, 3))
    assert mean.shape == (2, 5, 2)
