from __future__ import annotations

from itertools import permutations

import torch

from ppl_models.audio import NMF, TemporalNMF, fit_nmf
from ppl_models.likelihoods import bin_power
from tests.ppl_models.audio.test_nmf import hard
from tests.sounds import F


def test_spectra_are_found_again_up_to_their_order() -> None:
    """600 frames of three sparse sources: 0.1 of total variation is a few standard errors."""
    truth = NMF(8, 3, shape=0.3).double()
    peaks = torch.eye(3).repeat_interleave(3, 1)[:, :8] * 4
    truth.log_weights.data.copy_(peaks)
    with torch.no_grad():
        power = bin_power(truth(size=1, length=600)[0])
    model = fit_nmf(power, 3, iterations=150, shape=0.3, seed=1)
    distance = 0.5 * (model.weights[:, None] - truth.weights).abs().sum(-1)
    best = min(max(distance[i, j].item() for i, j in enumerate(p)) for p in permutations(range(3)))
    assert best < 0.1


def test_a_fit_is_its_seed_s(untouched: None) -> None:
    power = hard(4)
    one, same, other = (fit_nmf(power, 2, iterations=3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.weights, same.weights) and not torch.equal(one.weights, other.weights)
    assert isinstance(fit_nmf(power, 2, iterations=1, temporal=0.1), TemporalNMF)


def test_silence_has_finite_activations() -> None:
    model = fit_nmf(torch.zeros(5, F), 2, iterations=3)
    h = model.activations(torch.zeros(5, F))
    assert h.isfinite().all() and model.weights.isfinite().all()
    assert model.log_joint(torch.zeros(5, F), h).isfinite()


def test_padded_frames_are_not_read() -> None:
    """Two sequences padded, or the frames that exist in one row: the same model."""
    power, mask = hard(5), torch.arange(9) < torch.tensor([[9], [6]])
    hidden = torch.where(mask[..., None], power, float("nan"))
    one = fit_nmf(hidden, 2, mask=mask, iterations=5)
    other = fit_nmf(power[mask], 2, iterations=5)
    assert torch.allclose(one.weights, other.weights)
    assert torch.allclose(one.rate, other.rate)
