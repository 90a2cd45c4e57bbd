from __future__ import annotations

import copy

import pytest
import torch
from pyro import poutine
from torch import nn

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


def test_its_encoder_mirrors_the_decoder_unless_it_has_widths_of_its_own() -> None:
    model = VAE(5, 2, hidden_dims=(8, 16))

    def widths(guide: VAEGuide) -> list[int]:
        return [part.out_features for part in guide.encoder if isinstance(part, nn.Linear)]

    assert widths(VAEGuide(model)) == [16, 8, 4]
    assert widths(VAEGuide(model, hidden_dims=(6,))) == [6, 4]
    assert widths(VAEGuide(model, hidden_dims=())) == [4]


def test_a_copied_pair_reads_its_own_model() -> None:
    model = VAE(5, 2)
    twin, guide = copy.deepcopy((model, VAEGuide(model)))
    assert guide.model is twin and set(guide.state_dict()) == set(VAEGuide(model).state_dict())
    assert all(name.startswith("encoder.") for name in guide.state_dict())
