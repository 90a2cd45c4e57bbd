from __future__ import annotations

import pytest
import torch
from pyro import poutine

from guides.audio import SourceSumGuide, latents_of, with_power
from ppl_models.audio import SourceSum, variances
from ppl_models.likelihoods import bin_power
from tests.sounds import SOURCES, F, T, several


def test_bins_of_a_power_have_that_power() -> None:
    power = torch.rand(2, T, F)
    assert torch.allclose(bin_power(with_power(power)), power)


@pytest.mark.parametrize("kind", [kind for kind in SOURCES if kind not in ("hum", "given")])
def test_latents_are_called_as_the_part_calls_them(kind: str) -> None:
    """Whatever the prefix of their sites, which are seen by others too."""
    model, guide = SOURCES[kind]()
    s = torch.randn(2, T, 2 * F).double()
    torch.manual_seed(0)
    bare = latents_of(guide, s)
    torch.manual_seed(0)
    with poutine.trace() as seen:
        found = latents_of(guide, s, prefix="a")
    assert set(found) == set(bare) == {n.removeprefix("a/") for n in seen.trace.nodes}
    for name, value in found.items():
        assert torch.equal(value, bare[name])
        assert seen.trace.nodes[f"a/{name}"]["value"] is value
    assert variances(model, found, s).shape[-2:] == (T, F)


def test_padded_frames_reach_no_encoder() -> None:
    _, guide = SOURCES["srnn"]()
    s, mask = torch.randn(2, T, 2 * F).double(), torch.arange(T) < torch.tensor([[T], [2]])
    hidden = torch.where(mask[..., None], s, float("nan"))
    one = latents_of(guide, hidden, mask=mask, noise=0.0)["z"]
    other = latents_of(guide, s[1:, :2], noise=0.0)["z"]
    assert torch.allclose(one[1, :2], other[0])


def test_what_encoders_make_of_a_recording_is_neither_random_nor_seen() -> None:
    parts, guides = several("srnn", "nmf", "light", "hum")
    guide = SourceSumGuide(SourceSum(parts).double(), guides)
    o = torch.randn(2, T, 2 * F).double()
    with poutine.trace() as seen:
        one, two = guide.encoded(o), guide.encoded(o)
    assert torch.equal(one, two) and not seen.trace.nodes
    assert one.shape == (2, 4, T, F) and (one > 0).all()
    mask = torch.arange(T) < torch.tensor([[T], [2]])
    padded = torch.where(mask[..., None], o, torch.zeros(()).double())
    assert torch.allclose(guide.encoded(padded, mask)[1, :, :2], guide.encoded(o[1:, :2])[0])
