"""The guide of DSAE: padding does not reach its global latent."""

from __future__ import annotations

import torch

from guides.dvae.dsae import DSAEGuide, last
from ppl_models.dvae.dsae import DSAE
from tests.sequences import W


def test_the_last_output_is_that_of_the_last_frame_that_exists() -> None:
    outputs = torch.arange(12.0).reshape(2, 3, 2)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    assert torch.equal(last(outputs, mask), torch.stack([outputs[0, 2], outputs[1, 0]]))
    assert torch.equal(last(outputs, None), outputs[:, 2])


def test_v_of_a_dsae_does_not_depend_on_padding() -> None:
    model = DSAE(3, 2, global_dim=W).double()
    guide, s = DSAEGuide(model).double(), torch.randn(1, 6, 3).double()
    mask = torch.arange(6)[None] < 4
    alone = guide.encode_global(s[:, :4], None)
    padded = guide.encode_global(torch.where(mask[..., None], s, 0.0), mask)
    assert all(torch.allclose(a, b) for a, b in zip(alone, padded, strict=True))
