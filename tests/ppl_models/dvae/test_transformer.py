"""Hierarchical Transformers: what they share, and what the light one leaves out."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ppl_models.dvae.transformer import HiTDVAE, LigHTDVAE
from tests.sequences import ATTENTION, conditionals, paths, scores

BOTH = pytest.mark.parametrize("model_class", [HiTDVAE, LigHTDVAE])


def parameters(model: Any) -> int:
    return sum(p.numel() for p in model.parameters())


def test_the_light_one_is_lighter() -> None:
    """At equal sizes: one decoder of one attention a layer, for two of two."""
    light, heavy = LigHTDVAE(513, 16, global_dim=32), HiTDVAE(513, 16, global_dim=32)
    assert parameters(light) < 0.6 * parameters(heavy)
    assert not any(layer.crossing for layer in light.decoder.layers)
    assert all(layer.crossing for layer in heavy.latent_decoder.layers)


@BOTH
def test_the_code_is_drawn_once_and_every_frame_is_decoded_from_it(model_class: Any) -> None:
    model = model_class(3, 2, **ATTENTION).double()
    values = paths(model, 4, 6)
    assert values["w"].shape == (4, 2)
    decoded = conditionals(model, values["s"], values["z"], values["w"])[1]
    other = conditionals(model, values["s"], values["z"], values["w"] + 1)[1]
    assert ((decoded - other).abs() > 1e-9).any(-1).all()
    standard = torch.distributions.Normal(0.0, 1.0).log_prob(values["w"]).sum(-1)
    assert torch.allclose(scores(model, values)["w"], standard)


@BOTH
def test_forgotten_frames_change_training_only(model_class: Any) -> None:
    model = model_class(3, 2, **ATTENTION | {"forget": 0.5}).double()
    values = paths(model.eval())
    torch.testing.assert_close(scores(model, values), scores(model, values))
    plain = scores(model, values)["s"]
    model.train()
    assert not torch.allclose(scores(model, values)["s"], plain)
    model.forget = 0.0
    assert torch.allclose(scores(model, values)["s"], plain)


@BOTH
def test_a_decoder_that_can_forget_decodes_from_latents_alone(model_class: Any) -> None:
    """In a closed loop: as if every frame had been left out, and in all frames at once."""
    model = model_class(3, 2, **ATTENTION | {"forget": 0.5}).double()
    values, lengths = paths(model), torch.tensor([[7], [4], [1]])
    z, w, mask = values["z"], values["w"], torch.arange(7) < lengths
    decoded = model.eval().closed_loop(z, w, mask)
    model.train().forget = 1.0  # of which nothing is kept
    assert torch.allclose(conditionals(model, values["s"], z, w)[1], decoded)
    model.eval().forget = 0.0
    assert not torch.allclose(model.closed_loop(z, w), decoded)


@BOTH
def test_frames_far_back_are_not_kept(model_class: Any) -> None:
    """A long sequence is decoded the same without its beginning, beyond what the layers reach.

    Prior and emission reach layers x (window - 1) tokens back, each with the frame before it.
    """
    model = model_class(3, 2, **ATTENTION).double().eval()
    values, reach = paths(model, 2, 40), 2 * (4 - 1) + 1
    whole, tail = (
        conditionals(model, values["s"][:, start:], values["z"][:, start:], values["w"])[1]
        for start in (0, 20)
    )
    assert torch.allclose(whole[:, 20 + reach :], tail[:, reach:])
    assert not torch.allclose(whole[:, 20:22], tail[:, :2])
