"""Guides of the hierarchical Transformers: in parallel over frames, within a window."""

from __future__ import annotations

import pytest
import torch

from tests.sequences import FAMILY, chain_of, paths, reached

HIERARCHICAL = {m.title: m for m in FAMILY if "TDVAE" in m.title}


@pytest.mark.parametrize("title", ["HiTDVAE", "LigHTDVAE"])
def test_a_latent_is_read_off_the_frames_near_by_and_the_code_off_all(title: str) -> None:
    model, guide = HIERARCHICAL[title].pair(window=2)
    values = paths(model, 1, 9)
    s, z, w = values["s"].requires_grad_(), values["z"], values["w"]
    frames = torch.arange(9)
    near = (frames[:, None] - frames).abs() <= 2 * (2 - 1)  # two layers of windows of 2
    assert torch.equal(reached(chain_of(guide, s, w).moments(z), s), near)
    (grad,) = torch.autograd.grad(guide.encode_global(s, None)[0].sum(), s)
    assert (grad != 0).any(-1).all()


@pytest.mark.parametrize("title", ["HiTDVAE", "LigHTDVAE"])
def test_the_code_does_not_hang_on_padding(title: str) -> None:
    model, guide = HIERARCHICAL[title].pair()
    s, mask = paths(model, 1, 6)["s"], torch.arange(6)[None] < 4
    alone = guide.encode_global(s[:, :4], None)
    padded = guide.encode_global(torch.where(mask[..., None], s, 0.0), mask)
    assert all(torch.allclose(a, b) for a, b in zip(alone, padded, strict=True))


def test_the_light_guide_has_no_recurrence() -> None:
    recurrent = {
        title: any(isinstance(m, torch.nn.RNNBase) for m in member.pair()[1].modules())
        for title, member in HIERARCHICAL.items()
    }
    assert recurrent == {"HiTDVAE": True, "LigHTDVAE": False}
