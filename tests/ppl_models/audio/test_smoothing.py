"""Spectra that are smooth in frequency."""

from __future__ import annotations

import pytest
import torch

from inference.randomness import seeded
from ppl_models.audio import NMF, NeuralNoise, NONoise
from ppl_models.audio.smoothing import smoother_of
from ppl_models.errors import InputError


def test_rows_are_hann_windows_that_sum_to_one() -> None:
    smoother = smoother_of(7, 3)
    assert smoother is not None
    assert torch.allclose(smoother[3, 2:5], torch.tensor([0.25, 0.5, 0.25]))
    assert torch.allclose(smoother.sum(-1), torch.ones(7))
    assert smoother_of(7, 1) is None
    with pytest.raises(InputError, match=r"pass 5"):
        smoother_of(7, 4)


def test_smooth_nmf_is_smooth_and_its_updates_never_lower_log_p() -> None:
    with seeded(0):
        model = NMF(12, 2, resolution=5).requires_grad_(False)
        power = torch.rand(1, 9, 12).square() + 1e-3
    assert torch.allclose(model.weights.sum(-1), torch.ones(2))
    h, values = model.activations(power, iterations=1), []
    for _ in range(20):
        h = model.update_activations(power, h)
        model.update_weights(power, h)
        values.append(model.log_joint(power, h).sum())
    assert (torch.stack(values).diff() > -1e-3).all()  # single precision
    # a peak of one bin is a Hann window wide: no neighbour is less than a third of it
    assert (model.weights[:, 1:] / model.weights[:, :-1]).max() < 3.1


def test_smooth_noise_networks_have_no_peaks_of_one_bin() -> None:
    with seeded(0):
        free = NONoise(12, 2, recurrent_dim=4)
        smooth = NONoise(12, 2, recurrent_dim=4, resolution=5)
    assert NeuralNoise(12, 2, resolution=5).smoother is not None
    smooth.load_state_dict(free.state_dict())
    z, power = torch.randn(1, 6, 2), torch.rand(1, 6, 12)
    expected = free.variance(z, power) @ smoother_of(12, 5)
    assert torch.allclose(smooth.variance(z, power), expected)
