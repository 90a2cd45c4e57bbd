"""The ascent where sources add up: against quadrature, closed forms, and simulations."""

from __future__ import annotations

import math
from typing import Any

import pyro
import pytest
import torch
from torch import Tensor

from inference.randomness import seeded
from inference.tasks.separation.states import Activations, FreeLatents, Noise, Reading, Spectrum
from inference.tasks.separation.sums import Ascent, _improved, _value, ascend, summarise
from ppl_models.audio import NMF, Hum, SourceSum, TemporalNMF, variances
from ppl_models.likelihoods import bin_power, to_bins
from tests.inference.tasks.sound_models import recurrent, source

HOW = Ascent(iterations=60, learning_rate=0.1, num_samples=16)


def simulated(model: SourceSum, size: int, length: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return recordings (B, T, 2 F) of a model, and its sources (B, N, T, 2 F)."""
    with seeded(seed), pyro.poutine.trace() as seen:
        o = model(size=size, length=length)
    sites = [seen.trace.nodes[f"{name}/s"]["value"] for name in model.names]
    return o, torch.stack(sites, 1)


def states_of(model: SourceSum, guides: list[Any], o: Tensor, mask: Tensor) -> list[Any]:
    power = bin_power(o)
    parts = [part for _, part in model.named_parts()]
    return [
        FreeLatents(part, guide, power, mask, scale=0.5)
        for part, guide in zip(parts, guides, strict=True)
    ]


def climb(model: SourceSum, guides: list[Any], o: Tensor, how: Ascent = HOW) -> Any:
    mask = torch.ones(o.shape[:2], dtype=torch.bool)
    start = torch.stack([bin_power(o)] * len(guides), 1)
    return ascend(model, states_of(model, guides, o, mask), o, start, mask, how)


def test_the_bound_is_below_the_evidence_by_quadrature_and_near_it() -> None:
    part, guide = source(3, latent_dim=1)
    model = SourceSum({"one": part}, noise=0.1)
    o, _ = simulated(model, 12, 1)
    found = climb(model, [guide], o, Ascent(60, 0.1, 400))
    grid = torch.linspace(-6, 6, 1201)
    v = variances(part, {"z": grid[:, None, None]})
    fit = model.log_marginal(o[:, None], [v])  # (B, grid)
    log_prior = -0.5 * grid**2 - 0.5 * math.log(2 * math.pi)
    evidence = (fit + log_prior).logsumexp(-1) + math.log(12 / 1200)
    # three standard errors for each of 12, of 400 draws
    assert (found.bound < evidence + 3 * found.bound_error + 1e-3).all()
    # a Gaussian q of one number, where it found the better of two optima
    assert (found.bound - evidence).median() > -0.5


def test_the_bound_of_a_constant_spectrum_is_the_likelihood() -> None:
    hum = Hum(4).requires_grad_(False)
    model = SourceSum({"hum": hum}, noise=0.1)
    o, _ = simulated(model, 3, 5)
    mask = torch.ones(3, 5, dtype=torch.bool)
    state = Spectrum(hum, bin_power(o), mask)
    found = ascend(model, [state], o, bin_power(o)[:, None], mask, Ascent(1))
    assert torch.allclose(found.bound, model.log_marginal(o, [state.part.spectrum.expand(5, 4)]))
    assert not found.bound_error.any()


def test_a_source_that_is_not_heard_is_soft_but_never_of_no_variance() -> None:
    """Single precision had its gain at 0 after enough steps, and all numbers at NaN."""
    pairs = [source(4, seed=seed) for seed in (1, 2)]
    model = SourceSum({"a": pairs[0][0], "b": pairs[1][0]})
    o = torch.zeros(1, 3, 8)
    o[0, 1, 0] = 1.0  # one click, which either source alone tells
    mask = torch.ones(1, 3, dtype=torch.bool)
    states = [FreeLatents(p, g, bin_power(o), mask, gain=True) for p, g in pairs]
    for _ in range(60):  # a tenth at most each
        reading = states[1].read(None, bin_power(o))
        reading = states[1].improve(0 * bin_power(o), bin_power(o) + 1e-9, reading)
    faded = reading.variance.detach()
    assert 0 < faded.min() and faded.max() < 1e-5
    found = ascend(model, states, o, torch.stack([bin_power(o)] * 2, 1), mask, Ascent(60))
    for numbers in (found.mean, found.variance, found.bound, found.objective):
        assert numbers.isfinite().all()


@pytest.mark.parametrize("temporal", [False, True])
@pytest.mark.parametrize("learn", [False, True])
def test_closed_updates_never_lower_the_objective(temporal: bool, learn: bool) -> None:
    with seeded(1):
        make = TemporalNMF if temporal else NMF
        nmf = make(6, 2).requires_grad_(False)
        power = torch.rand(2, 7, 6).square() + 1e-3
    part, guide = source(6)
    hum = Hum(6).requires_grad_(False)
    mask = torch.ones(2, 7, dtype=torch.bool)
    if learn:
        nmf.log_rate.data.fill_(-20.0)
    latents = FreeLatents(part, guide, power, mask, gain=True)
    states = [latents, Activations(nmf, power, mask, learn=learn), Spectrum(hum, power, mask)]
    model = SourceSum({"a": part, "b": nmf, "c": hum}, noise=1e-3)
    past, values = torch.stack([power] * 3, 1), list[Tensor]()
    for _ in range(15):
        readings = [state.read(None, past[:, n]) for n, state in enumerate(states)]
        values.append(_value(model, readings, power, mask).detach().sum())
        _improved(model, states, power, readings)
    # single precision, of a sum of some hundred nats
    assert (torch.stack(values).diff() > -1e-3).all()
    assert values[-1] > values[0]


@pytest.mark.slow
def test_regions_hold_the_true_bins_of_simulated_recordings() -> None:
    pairs = [source(16, seed=seed, spread=2.0) for seed in (1, 2)]
    model = SourceSum({"one": pairs[0][0], "two": pairs[1][0]}, noise=1e-3)
    o, s = simulated(model, 96, 6, seed=3)
    found = climb(model, [guide for _, guide in pairs], o, Ascent(300, 0.1, 32))
    ratio = bin_power(found.mean - s) / found.variance
    for level in (0.5, 0.8, 0.95):
        # of a complex Gaussian, |x|^2 / v is exponential
        inside = (ratio < -math.log(1 - level)).float().mean()
        assert abs(float(inside) - level) < 0.05


def test_a_source_that_reads_its_past_has_a_bound_by_frames() -> None:
    pairs = [recurrent(4, seed=1), source(4, seed=2)]
    model = SourceSum({"one": pairs[0][0], "two": pairs[1][0]}, noise=0.01)
    o, _ = simulated(model, 3, 5)
    found = climb(model, [guide for _, guide in pairs], o, Ascent(5, 0.1, 4))
    assert found.bound.isfinite().all() and (found.bound_error > 0).all()
    assert torch.allclose(found.mean.sum(1), o, atol=0.5)  # the rest is noise of variance 0.01


def test_padding_reaches_nothing() -> None:
    part, guide = source(4)
    model = SourceSum({"one": part}, noise=0.01)
    o, _ = simulated(model, 2, 6)
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    spoilt = torch.where(mask[..., None], o, torch.nan)
    clean = torch.where(mask[..., None], o, 0.0)
    runs = []
    for rows in (spoilt, clean):
        start = bin_power(clean)[:, None]
        states = [FreeLatents(part, guide, start[:, 0], mask)]
        runs.append(ascend(model, states, rows, start, mask, Ascent(5)))
    assert torch.equal(runs[0].bound, runs[1].bound)
    alone = ascend(
        model,
        [FreeLatents(part, guide, bin_power(o)[1:, :4], mask[1:, :4])],
        o[1:, :4],
        bin_power(o)[1:, None, :4],
        mask[1:, :4],
        Ascent(5),
        seed=[0],
    )
    again = ascend(
        model,
        [FreeLatents(part, guide, bin_power(clean)[1:], mask[1:])],
        clean[1:],
        bin_power(clean)[1:, None],
        mask[1:],
        Ascent(5),
        seed=[0],
    )
    assert torch.allclose(alone.bound, again.bound, rtol=1e-5)


def test_a_row_s_noise_is_its_own() -> None:
    like = torch.zeros(2, 5, 3)
    both, alone = Noise([4, 9])(like), Noise([9])(like[:1])
    assert torch.equal(both[1], alone[0])
    assert torch.equal(Noise([9])(torch.zeros(1, 2, 3))[0], alone[0, :2])


def test_bins_are_complex_numbers() -> None:
    assert torch.equal(bin_power(to_bins(torch.tensor([3 + 4j]))), torch.tensor([25.0]))


def test_progress_is_told_by_iteration() -> None:
    part, guide = source(4)
    model, seen = SourceSum({"one": part}, noise=0.01), list[int]()
    o, _ = simulated(model, 2, 3)
    mask = torch.ones(2, 3, dtype=torch.bool)
    states = states_of(model, [guide], o, mask)
    ascend(model, states, o, bin_power(o)[:, None], mask, Ascent(3), progress=seen.append)
    assert seen == [1, 2, 3]


def test_what_is_no_source_s_is_left_out_of_the_means() -> None:
    o = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    v = torch.ones(2, 3, 4)

    def at(noise: Noise) -> tuple[list[Reading], Tensor]:
        return [Reading({}, v, torch.zeros(2))], torch.zeros(2)

    found = summarise(o, at, Noise([0, 1]), 2, [], rest=3.0)
    assert torch.allclose(found.mean[:, 0], o / 4)  # 1 / (1 + 3)
    assert torch.allclose(found.variance[:, 0], torch.full_like(v, 0.75))


def test_more_updates_an_iteration_climb_higher() -> None:
    with seeded(2):
        nmf = NMF(6, 3).requires_grad_(False)
        power = torch.rand(2, 7, 6).square() + 1e-3
    mask, rest = torch.ones(2, 7, dtype=torch.bool), torch.full((2, 7, 6), 1e-3)
    values = []
    for steps in (1, 5):
        state = Activations(nmf, power, mask, learn=True, steps=steps)
        found = state.improve(power, rest, state.read(None, power))
        values.append(-(found.variance + rest).log() - power / (found.variance + rest))
    assert values[1].sum() > values[0].sum()
