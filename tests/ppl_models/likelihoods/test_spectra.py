"""Powers of complex Gaussian bins: their density, draws, floor, and what data they take."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ppl_models.data.stft import STFT
from ppl_models.errors import InputError
from ppl_models.likelihoods.spectra import (
    QUIET,
    ComplexBins,
    ComplexGaussian,
    LogPower,
    Power,
    bin_normal,
    bin_power,
    to_bins,
    to_complex,
)

D = 5


def test_the_density_is_that_of_complex_bins_but_for_pi() -> None:
    """Real and imaginary part are N(0, v / 2) each; log(pi) a bin is the phase's."""
    v = torch.rand(7, D).double() + 0.1
    x = torch.randn(7, D, 2).double()
    bins = torch.distributions.Normal(0.0, (v / 2).sqrt()[..., None]).log_prob(x).sum(-1)
    found = Power(v).log_prob(x.square().sum(-1))
    assert torch.allclose(found, bins + math.log(math.pi))
    assert torch.allclose(
        found, torch.distributions.Exponential(1 / v).log_prob(x.square().sum(-1))
    )


def test_it_is_the_itakura_saito_divergence_but_for_what_has_no_variance() -> None:
    power = torch.rand(D).double() + 0.1

    def divergence(v: Tensor) -> Tensor:
        return power / v - (power / v).log() - 1

    one, other = torch.rand(2, D).double() + 0.1
    for v in (one, other):
        rest = -Power(v).log_prob(power) - divergence(v)
        assert torch.allclose(rest, 1 + power.log())


def test_draws_have_mean_and_spread_v() -> None:
    """An exponential's standard deviation is its mean: 4 standard errors of 40,000 draws."""
    v = torch.tensor([0.1, 1.0, 30.0]).double().requires_grad_()
    draws = Power(v).rsample((40_000,)) / v
    assert draws.min() >= 0
    assert (draws.mean(0) - 1).abs().max() < 4 / 200
    assert (draws.std(0) - 1).abs().max() < 4 * 2**0.5 / 200  # kurtosis 9: sd of s is sqrt(2 / n)
    (grad,) = torch.autograd.grad(Power(v).rsample((1_000,)).mean(0).sum(), v)
    assert (grad - 1).abs().max() < 4 / 1_000**0.5  # reparametrised: d(v e) / dv = e
    assert Power(v).expand((2, 3)).sample((4,)).shape == (4, 2, 3)
    assert torch.equal(Power(v).mean, v)


def test_raw_numbers_are_log_variances_in_the_units_of_the_data() -> None:
    part = ComplexGaussian(D)
    part.reader.centre.fill_(1.5)
    part.reader.spread.fill_(2.0)
    raw = torch.randn(4, D)
    assert torch.allclose(part.point(raw), (1.5 + 2 * raw).exp() + QUIET)
    power = part.point(raw)
    assert torch.allclose(part.features(power - QUIET), raw, atol=1e-4)  # what is read is written
    assert part(raw).event_shape == (D,)


def test_the_floor_bounds_the_density_of_silence() -> None:
    part = ComplexGaussian(D, floor=1e-3)
    silence, raw = torch.zeros(D), torch.full((D,), -200.0).requires_grad_()
    bound = part(raw).log_prob(silence)
    assert torch.allclose(bound, torch.tensor(-D * math.log(1e-3)))
    bound.backward()
    assert torch.isfinite(raw.grad).all() and torch.isfinite(part.features(silence)).all()


def test_centre_and_spread_make_features_of_order_one() -> None:
    levels = 3 * torch.randn(50, 20, D) + torch.arange(float(D))
    s, mask = levels.exp(), torch.arange(20) < torch.randint(1, 21, (50, 1))
    part = ComplexGaussian(D, floor=1e-12)
    assert part.start_from(s, mask) is part
    features = part.features(s[mask])
    assert features.mean(0).abs().max() < 1e-4
    assert features.square().mean().sqrt() == pytest.approx(1, abs=1e-4)
    assert set(part.state_dict()) == {"reader.centre", "reader.spread"}
    silent = ComplexGaussian(D).start_from(torch.zeros(3, D))
    assert torch.isfinite(silent.features(torch.ones(D))).all()


def test_white_noise_has_the_density_of_its_own_variance() -> None:
    """Mean log density of the STFT's power of white noise: -log v - 1, within 4 standard errors."""
    transform = STFT()
    wave = torch.randn(64_000)
    power = transform.power(wave)[8:-8:4, 4:-4:2]  # frames that do not overlap; no edge bin
    v = transform.power(torch.randn(640_000))[8:-8, 4:-4].mean()
    found = Power(v).log_prob(power)
    error = found.std() / found.numel() ** 0.5 * 2  # neighbouring bins share some of the window
    assert (found.mean() + v.log() + 1).abs() < 4 * error


@pytest.mark.parametrize(
    ("s", "message"),
    [
        (torch.rand(3, D + 1), "shape"),
        (torch.rand(0, D), "shape"),
        (-torch.rand(3, D), "negative"),
        (torch.full((3, D), float("nan")), "non-finite"),
        (torch.full((3, D), float("inf")), "non-finite"),
        (torch.ones(3, D, dtype=torch.long), "int64"),
    ],
)
def test_what_is_no_power_spectrum_is_named(s: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ComplexGaussian(D).start_from(s)


def test_a_floor_of_nothing_is_named() -> None:
    with pytest.raises(InputError, match="floor"):
        ComplexGaussian(D, floor=0.0)


def test_log_powers_are_centred_and_scaled() -> None:
    reader = LogPower(D, 1.0)
    reader.centre.fill_(1.0)
    reader.spread.fill_(2.0)
    assert torch.allclose(reader(torch.full((D,), math.e - 1)), torch.zeros(D), atol=1e-6)


# Complex bins as real numbers ---------------------------------------------------------------------


def test_bins_hold_real_parts_then_imaginary_ones() -> None:
    x = torch.randn(2, 3, D, dtype=torch.complex128)
    bins = to_bins(x)
    assert torch.equal(bins[..., :D], x.real) and torch.equal(bins[..., D:], x.imag)
    assert torch.equal(to_complex(bins), x)
    assert torch.allclose(bin_power(bins), x.abs().square())


def test_the_density_of_bins_is_that_of_powers_less_log_pi_a_bin() -> None:
    power = ComplexGaussian(D).double()
    power.reader.centre.normal_()
    power.reader.spread.fill_(1.7)
    bins = ComplexBins.of(power)
    raw, x = torch.randn(4, D).double(), torch.randn(4, 2 * D).double()
    found = bins(raw).log_prob(x)
    assert found.shape == (4,)
    assert torch.allclose(found, power(raw).log_prob(bin_power(x)) - D * math.log(math.pi))
    assert torch.equal(bins.features(x), power.features(bin_power(x)))


def test_a_likelihood_of_bins_shares_the_reader_of_powers() -> None:
    power = ComplexGaussian(D, floor=1e-3)
    bins = ComplexBins.of(power)
    assert bins.reader is power.reader and bins.reader.floor == 1e-3
    assert (bins.data_dim, bins.raw_dim, bins.feature_dim) == (2 * D, D, D)
    x = torch.randn(6, 3, 2 * D)
    bins.start_from(x)
    other = ComplexGaussian(D, floor=1e-3).start_from(bin_power(x))
    assert torch.allclose(power.reader.centre, other.reader.centre)
    assert torch.allclose(power.reader.spread, other.reader.spread)


def test_draws_of_bins_have_power_v_and_any_phase() -> None:
    """E|x|^2 = v, E x = 0, E x^2 = 0: to 4 standard errors of 20,000 draws."""
    v, m = torch.tensor([0.1, 30.0]).double(), torch.tensor([1.0, 2.0, 3.0, 4.0]).double()
    x = to_complex(bin_normal(v, m).sample((20_000,)) - m) / v.sqrt()
    error = 4 / 20_000**0.5
    assert (x.abs().square().mean(0) - 1).abs().max() < error
    assert x.mean(0).abs().max() < error and x.square().mean(0).abs().max() < error * 2**0.5


def test_bins_of_another_stft_are_named() -> None:
    with pytest.raises(InputError, match="frames of bins"):
        ComplexBins(D).start_from(torch.zeros(3, D))
    with pytest.raises(InputError, match="bins"):
        ComplexBins(0)
