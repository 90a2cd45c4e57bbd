"""The rivals of the speed benchmark are fair: same weights and noise, same loss and gradient."""

from __future__ import annotations

import pyro
import pytest
import torch
from torch import nn

from benchmarks.sequence_speed import RIVALS, elbo, kept_bytes, noises, pair_of, powers, rival_of
from ppl_models.networks.lstm import Span

NAIVE = [
    (name, naive) for name in RIVALS for naive in (False, True) if (name, naive) != ("HiT", True)
]


@pytest.mark.parametrize(("name", "naive"), NAIVE)
def test_a_rival_has_the_loss_and_the_gradient_of_the_model(name: str, naive: bool) -> None:
    s = powers(2, 6, 7)
    pair = pair_of(name, s)
    rival, losses = rival_of(name, pair, naive), []
    with pyro.validation_enabled(False):
        for loss in (elbo(pair, s), lambda: rival.loss(s, *noises(pair, s))):
            torch.manual_seed(1)
            losses.append(loss())
    assert losses[1].item() == pytest.approx(losses[0].item(), abs=1e-4)
    networks = nn.ModuleList(pair), rival
    grads = [
        torch.autograd.grad(loss, list(net.parameters()))
        for loss, net in zip(losses, networks, strict=True)
    ]
    for mine, theirs in zip(*grads, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-4, atol=1e-4)


def test_a_rival_of_other_sizes_is_refused() -> None:
    s = powers(2, 6, 7)
    with pytest.raises(ValueError, match="stands for"):
        rival_of("DKF", pair_of("RVAE", s))


@pytest.mark.parametrize("name", ["RVAE", "SRNN", "LigHT"])
def test_what_is_kept_for_the_way_back_is_linear_in_the_length(name: str) -> None:
    """Each frame adds as many bytes between 256 and 512 as between 128 and 256, to 3 %."""
    pair = pair_of(name, powers(2, 6, 40))
    with pyro.validation_enabled(False):
        elbo(pair, powers(2, 6, 40))()  # what is asked once of a pair is known from here on
        kept = [kept_bytes(elbo(pair, powers(2, length, 40)), *pair) for length in (128, 256, 512)]
        slopes = [(b - a) / n for a, b, n in zip(kept, kept[1:], (128, 256), strict=False)]
        assert slopes[1] == pytest.approx(slopes[0], rel=0.03)
        if name != "LigHT":
            pair[1].span = Span(16)
            assert kept_bytes(elbo(pair, powers(2, 512, 40)), *pair) < 0.3 * kept[-1]
