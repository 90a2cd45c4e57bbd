from __future__ import annotations

import pytest
import torch
from pyro import poutine

from guides.vae import VAEGuide
from ppl_models.errors import InputError
from ppl_models.vae import VAE


def test_the_posterior_is_that_of_each_datum_alone() -> None:
    guide, x = VAEGuide(VAE(5, 2)), torch.randn(6, 5)
    q = poutine.trace(guide).get_trace(x).nodes["z"]["fn"].base_dist
    alone = poutine.trace(guide).get_trace(x[2:3]).nodes["z"]["fn"].base_dist
    assert q.loc.shape == q.scale.shape == (6, 2)
    assert torch.allclose(q.loc[2], alone.loc[0], atol=1e-6)
    assert torch.allclose(q.scale[2], alone.scale[0], atol=1e-6)


@pytest.mark.parametrize("x", [None, torch.zeros(4, 6)])
def test_it_needs_data_of_its_size(x: torch.Tensor | None) -> None:
    with pytest.raises(InputError, match="expected: a tensor of shape"):
        VAEGuide(VAE(5, 2))(x)
