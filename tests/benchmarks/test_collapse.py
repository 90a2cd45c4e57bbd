from __future__ import annotations

import pytest
import torch

from benchmarks.collapse import (
    VARIANCES,
    Sentences,
    expected_rate,
    linear_vae,
    remedies,
    train,
    whitened,
)


def test_the_data_have_exactly_the_variances_that_are_known():
    x = whitened().double()
    found = torch.linalg.eigvalsh(x.T @ x / len(x)).flip(0)
    assert found.tolist() == pytest.approx(VARIANCES, rel=1e-4)


def test_the_source_s_information_is_the_same_from_other_draws():
    source = Sentences.random()
    one, error = source.information(100, 1000, seed=1)
    two, other = source.information(100, 1000, seed=2)
    assert abs(one - two) < 4 * (error**2 + other**2) ** 0.5
    assert 1.3 < one < 2.3


@pytest.mark.slow
@pytest.mark.parametrize("gamma", [0.75, 6.0, None])
def test_a_linear_vae_keeps_the_directions_above_its_noise(gamma):
    rate, learned = linear_vae(gamma, epochs=120)
    known, kept = expected_rate(sum(VARIANCES[4:]) / 2 if gamma is None else gamma, 4)
    # 10,000 draws of a rate of spread about 1, and 600 steps of Adam
    assert rate == pytest.approx(known, abs=0.05 if gamma else 0.25)
    assert (kept == 0) == (rate < 0.1)
    if gamma is None:
        assert learned == pytest.approx(sum(VARIANCES[4:]) / 2, rel=0.1)


@pytest.mark.slow
def test_sentences_collapse_and_free_bits_bring_them_back_to_a_better_bound():
    source, size, epochs = Sentences.random(), 8000, 4
    truth, _ = source.information(100, 1000)
    steps = epochs * size // 32
    found = {
        name: train(source, remedies(steps, truth)[name], 0, epochs, size)
        for name in ("plain", "free bits")
    }
    assert found["plain"].rate < 0.1
    assert found["free bits"].information > 0.8 * truth
    assert found["free bits"].bound > found["plain"].bound + 0.3  # errors 0.1: 1000 sentences
