"""The ascent where one source owns each bin: against enumeration, closed forms, simulations."""

from __future__ import annotations

import math
from typing import Any

import pyro
import pytest
import torch
from torch import Tensor

from inference.randomness import seeded
from inference.tasks.separation.owners import Ownership, _from_places, _to_places, own
from inference.tasks.separation.states import FreeLatents, Spectrum
from ppl_models.audio import BinMixture, Hum
from ppl_models.likelihoods import bin_power
from tests.inference.tasks.sound_models import recurrent, source


def simulated(model: BinMixture, size: Tensor, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return recordings (B, T, 2 F), sources (B, N, T, 2 F), and owners (B, T, F)."""
    with seeded(seed), pyro.poutine.trace() as seen:
        s = model(None, size=size)
    o = seen.trace.nodes["o"]["value"].transpose(-1, -2).flatten(-2)
    return o, s, seen.trace.nodes["w"]["value"]


def run(model: BinMixture, states: list[Any], o: Tensor, how: Ownership) -> Any:
    mask = torch.ones(o.shape[:2], dtype=torch.bool)
    power = bin_power(o)
    start = torch.stack([0.5 * o] * len(states), 1), torch.stack([power] * len(states), 1)
    return own(model, states, o, start, mask, how)


def test_places_are_bins_in_another_order() -> None:
    bins = torch.randn(2, 3, 4, 10)
    assert torch.equal(_from_places(_to_places(bins), 4), bins)
    place = _to_places(bins)[1, 2, 3 * 5 + 4]  # frame 3, bin 4
    assert torch.equal(place, bins[1, 2, 3, [4, 9]])


def test_the_objective_never_falls_with_constant_spectra_and_is_the_bound() -> None:
    hums = [Hum(5).requires_grad_(False) for _ in range(2)]
    for hum, level in zip(hums, (-1.0, 2.0), strict=True):
        hum.log_spectrum.data.fill_(level)
    model = BinMixture({"a": hums[0], "b": hums[1]}, noise=0.1, noise_strength=None)
    o, _, _ = simulated(model, torch.ones(3, 6, 5))
    mask = torch.ones(3, 6, dtype=torch.bool)
    states = [Spectrum(hum, bin_power(o), mask, steps=0) for hum in hums]
    found = run(model, states, o, Ownership(iterations=12))
    assert (found.objective.diff(dim=0) > -1e-3).all()
    assert torch.allclose(found.bound, found.objective[-1], rtol=1e-4)


def test_the_bound_is_below_the_evidence_by_enumeration() -> None:
    hums = [Hum(2).requires_grad_(False) for _ in range(2)]
    hums[1].log_spectrum.data.fill_(2.0)
    model = BinMixture({"a": hums[0], "b": hums[1]}, noise=0.1, noise_strength=None)
    o, _, _ = simulated(model, torch.ones(4, 3, 2))
    mask = torch.ones(4, 3, dtype=torch.bool)
    states = [Spectrum(hum, bin_power(o), mask, steps=0) for hum in hums]
    found = run(model, states, o, Ownership(iterations=20))
    size = (loud := bin_power(o) + 1e-6).div(2).sqrt()  # the default: loudness
    v = torch.stack([h.spectrum.expand(3, 2) for h in hums], -1) + 2 * 0.1 * size[..., None] ** 2
    each = -v.log() - bin_power(o)[..., None] / v - math.log(math.pi) + math.log(0.5)
    evidence = each.logsumexp(-1).sum((1, 2))
    assert loud.min() > 0
    assert (found.bound < evidence + 1e-4).all()
    # an owner for certain, and the exact q(s) given it, lose at most log 2 in each of 6 bins
    assert (found.bound > evidence - 6 * math.log(2)).all()


def test_owners_and_regions_of_simulated_recordings() -> None:
    pairs = [source(16, seed=seed, spread=3.0) for seed in (1, 2)]
    model = BinMixture({"a": pairs[0][0], "b": pairs[1][0]}, noise=1e-3, noise_strength=None)
    size = torch.full((8, 6, 16), 0.3)
    o, s, w = simulated(model, size, seed=4)
    mask = torch.ones(8, 6, dtype=torch.bool)
    states = [FreeLatents(p, g, bin_power(o), mask, scale=0.3) for p, g in pairs]
    found = run(model, states, o, Ownership(iterations=25, steps=4))
    right = (found.shares.argmax(1) == w).float().mean()
    known = (
        torch.stack([bin_power(s[:, n]).mean(1, keepdim=True) for n in range(2)], 1) + 2e-3 * 0.09
    )
    best = (-known.log() - bin_power(o)[:, None] / known).argmax(1)
    # the owner by the true mean powers of both sources is right as often as can be, nearly
    assert right > 0.5 + 0.5 * ((best == w).float().mean() - 0.5)
    assert found.bound.isfinite().all() and (found.bound_error >= 0).all()
    assert torch.allclose(found.shares.sum(1), torch.ones(8, 6, 16), atol=1e-5)


@pytest.mark.parametrize("steps", [0, 2])
def test_sources_that_read_their_past_mix_with_others(steps: int) -> None:
    pairs = [recurrent(4, seed=1), source(4, seed=2)]
    model = BinMixture({"a": pairs[0][0], "b": pairs[1][0]})
    o, _, _ = simulated(model, torch.full((2, 5, 4), 0.5))
    mask = torch.ones(2, 5, dtype=torch.bool)
    states = [FreeLatents(p, g, bin_power(o), mask) for p, g in pairs]
    found = run(model, states, o, Ownership(iterations=4, steps=steps, learn_noise=True))
    assert found.mean.isfinite().all() and found.bound.isfinite().all()


def test_progress_and_the_encoder_s_own_deviations() -> None:
    part, guide = source(4)
    model = BinMixture({"a": part})
    o, _, _ = simulated(model, torch.full((1, 5, 4), 0.5))
    mask, seen = torch.ones(1, 5, dtype=torch.bool), list[int]()
    state = FreeLatents(part, guide, bin_power(o), mask, scale=7.0)
    assert torch.allclose(state.log_scale["z"].exp(), torch.tensor(7.0))
    state.encode(bin_power(o), scales=True)
    assert not torch.allclose(state.log_scale["z"].exp(), torch.tensor(7.0))
    start = o[:, None], bin_power(o)[:, None]
    own(model, [state], o, start, mask, Ownership(iterations=3), progress=seen.append)
    assert seen == [1, 2, 3]
