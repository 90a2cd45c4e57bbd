from __future__ import annotations

from typing import Any

import pytest
import torch

from ppl_models.audio import LVNoise, NOLVNoise, NONoise
from ppl_models.errors import InputError
from ppl_models.likelihoods import bin_power
from tests.sequences import reached, reads
from tests.sounds import F, T

KINDS: list[tuple[Any, str]] = [
    (LVNoise, "z_{1:T}"),
    (NONoise, "x_{1:t-1}"),
    (NOLVNoise, "x_{1:t-1}, z_{1:t}"),
]
SIZES = {"recurrent_dim": 4, "hidden_dim": 3}


@pytest.mark.parametrize(("kind", "words"), KINDS)
def test_noise_reads_what_its_name_says(kind: Any, words: str) -> None:
    """By gradients, frame by frame."""
    noise = kind(F, 2, **SIZES).double()
    z = torch.randn(1, T, 2).double().requires_grad_()
    power = torch.rand(1, T, F).double().requires_grad_()
    v = noise.variance(z, power)
    assert v.shape == (1, T, F) and (v > 0).all()
    assert torch.equal(reached((v,), z), reads(words, "z", T))
    assert torch.equal(reached((v,), power), reads(words, "x", T))


@pytest.mark.parametrize("kind", [kind for kind, _ in KINDS])
def test_padded_frames_reach_nothing(kind: Any) -> None:
    noise = kind(F, 2, **SIZES).double()
    z, power = torch.randn(2, T, 2).double(), torch.rand(2, T, F).double()
    mask = torch.arange(T) < torch.tensor([[T], [2]])
    hidden = torch.where(mask[..., None], power, float("nan"))
    found = noise.variance(z, hidden, mask)
    assert torch.allclose(found[1, :2], noise.variance(z[1:, :2], power[1:, :2])[0])


def test_the_sizes_are_the_paper_s() -> None:
    """LSTMs of 128, then 128 tanh units, then 513 log variances."""
    count = {kind: sum(p.numel() for p in kind(513, 16).parameters()) for kind, _ in KINDS}
    lstm = {n: 4 * 128 * (n + 128 + 2) for n in (16, 513)}
    head = {n: 128 * (n + 1) + 513 * 129 for n in (128, 256)}
    assert count[LVNoise] == 2 * lstm[16] + head[256]
    assert count[NONoise] == lstm[513] + head[128]
    assert count[NOLVNoise] == lstm[513] + lstm[16] + head[256]


def test_noise_starts_at_the_level_of_its_data() -> None:
    """With a head of zeros, variances are the geometric means of powers."""
    x = 30 * torch.randn(3, T, 2 * F).double()
    noise = LVNoise(F, 2).double().start_from(x)
    noise.head[-1].weight.data.zero_()
    noise.head[-1].bias.data.zero_()
    v = noise.variance(torch.zeros(1, T, 2).double(), torch.ones(1, T, F).double())
    level = (bin_power(x) + 1e-6).log().mean((0, 1)).exp()
    assert torch.allclose(v, level.expand(1, T, F), rtol=1e-5)
    with pytest.raises(InputError, match="bins"):
        LVNoise(0, 2)
