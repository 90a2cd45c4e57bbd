"""Frames read as codes: padding is not read, and a reading is kept for one call."""

from __future__ import annotations

from typing import Any

import torch

from tests.videos import B, T, assert_alike, blobs, pair, ragged


def test_padding_has_codes_and_maps_of_zeros() -> None:
    model, _ = pair("SVGLP")
    s, mask = ragged(blobs())
    codes, maps = model.read(s, mask)
    alone, maps_alone = model.likelihood.read_maps(s[mask])
    assert codes.shape == (B, T, 6) and bool((codes[~mask] == 0).all())
    assert_alike((codes[mask], maps[0][mask]), (alone, maps_alone[0]), 1e-12)
    assert torch.equal(model.features(s, mask), codes)


def trained(model: Any) -> None:
    """A step of training. (Fused optimisers alone change weights and leave their version.)"""
    parameters = list(model.likelihood.encoder.parameters())
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    torch.optim.Adam(parameters).step()


def test_a_reading_is_kept_for_the_same_frames_and_one_call() -> None:
    model, _ = pair("SVGLP")
    s = blobs()
    kept = model.read(s, keep=True)
    assert model.read(s) is kept and model.read(s) is not kept
    kept = model.read(s, keep=True)
    assert model.read(s, keep=True) is not kept  # a guide by itself always reads anew
    for change in (
        lambda: s.mul_(1.0),  # in place
        lambda: trained(model),
        lambda: model.train(),
    ):
        kept = model.read(s, keep=True)
        change()
        assert model.read(s) is not kept
    kept = model.read(s, keep=True)
    with torch.no_grad():
        assert model.read(s) is not kept
    kept = model.read(s, keep=True)
    assert model.read(s.clone()) is not kept
    kept = model.read(s, keep=True)
    assert model.read(s, torch.ones(B, T, dtype=torch.bool)) is not kept
