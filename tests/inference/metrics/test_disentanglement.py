"""The mutual information gap: on codes made up, after a rotation, and of trained pairs."""

from __future__ import annotations

import math
from typing import Any

import pyro
import pytest
import torch
from torch import Tensor

from guides.vae import VAEGuide
from inference import Objective, TotalCorrelation
from inference.metrics.disentanglement import factor_information, mig
from ppl_models.errors import InputError
from ppl_models.vae import VAE


def grid(values: int, times: int = 1) -> Tensor:
    """Every pair of two factors' values, so many times each."""
    return torch.cartesian_prod(torch.arange(values), torch.arange(values)).repeat(times, 1)


def test_one_code_a_factor_has_a_gap_of_one() -> None:
    factors = grid(8)
    assert mig(factors.float(), factors) == pytest.approx(1.0)
    assert mig(-7.0 * factors.flip(1).float() + 3, factors) == pytest.approx(1.0)


def test_a_gap_by_hand() -> None:
    """One code knows the first factor whole, another its half; the second nobody knows."""
    factors = grid(4)
    codes = torch.stack([factors[:, 0], factors[:, 0] // 2], 1).float()
    information = factor_information(codes, factors)
    expected = torch.tensor([[math.log(4), 0.0], [math.log(2), 0.0]], dtype=torch.float64)
    assert torch.allclose(information, expected, atol=1e-9)
    assert mig(codes, factors) == pytest.approx(0.5 * (math.log(2) / math.log(4)))


def test_a_single_code_is_its_own_gap() -> None:
    factors = grid(4)[:, :1]
    assert mig(factors.float(), factors) == pytest.approx(1.0)


def test_codes_without_information() -> None:
    """By chance, counts of 20 x 4 cells have an information of 19 * 3 / (2 * 4096) = 0.007 nat."""
    factors = grid(4, 256)
    codes = torch.randn(4096, 3)
    assert factor_information(codes, factors).max() < 0.02
    assert mig(codes, factors) < 0.01
    assert mig(torch.zeros(4096, 2), factors) == pytest.approx(0, abs=1e-12)


def test_no_likelihood_identifies_a_rotation_by_45_degrees() -> None:
    """The impossibility of unsupervised disentanglement (Locatello et al. 2019, theorem 1).

    Rotated codes have the same prior, and a model that rotates them back makes the same data with
    the same evidence; but each of them is now both factors at once.
    """
    turn = torch.tensor([[1.0, -1.0], [1.0, 1.0]]).double() / 2**0.5
    loading, z = torch.randn(5, 2).double(), torch.randn(4000, 2).double()
    x = z @ loading.T + 0.1 * torch.randn(4000, 5).double()

    def evidence(weight: Tensor) -> Tensor:
        covariance = weight @ weight.T + 0.01 * torch.eye(5).double()
        return torch.distributions.MultivariateNormal(x.new_zeros(5), covariance).log_prob(x)

    assert torch.allclose(evidence(loading), evidence(loading @ turn), atol=1e-6)
    inverse = torch.linalg.pinv(loading)
    factors = (2 * z).round()
    assert mig(x @ inverse.T, factors) > 0.4
    assert mig(x @ inverse.T @ turn, factors) < 0.05


def blobs() -> tuple[Tensor, Tensor]:
    """A round spot on 8x8 pixels: 1024 images, and which of 12 places it has along each side."""
    places = torch.randint(0, 12, (1024, 2), generator=torch.Generator().manual_seed(0))
    centres, pixels = places / 11 * 5 + 1, torch.arange(8.0)
    x, y = (torch.exp(-((pixels - centre[:, None]) ** 2) / 2) for centre in centres.T)
    return (x[:, :, None] * y[:, None]).reshape(1024, 64), places


def gap(penalties: Any, seed: int) -> float:
    """Train a VAE of two codes on the blobs; return its gap."""
    images, places = blobs()
    pyro.enable_validation(False)  # a third of the time
    torch.manual_seed(seed)
    model = VAE(64, 2, hidden_dims=(64,), scale=0.4)
    guide = VAEGuide(model)
    optimizer = torch.optim.Adam([*model.parameters(), *guide.parameters()], 2e-3)
    objective = Objective("meanfield", penalties=penalties)
    for step in range(1500):
        batch = images[torch.randint(0, 1024, (128,))]
        optimizer.zero_grad()
        objective.loss(model, guide, (batch,), step=step, data_size=1024).backward()
        optimizer.step()
    with torch.no_grad():
        return mig(guide.encoder(images).chunk(2, -1)[0], places)


@pytest.mark.slow
def test_a_weight_on_the_total_correlation_widens_the_gap() -> None:
    """A plain VAE of the blobs finds their factors or a mixture of them, by its seed."""
    for seed in (1, 2):
        assert gap((TotalCorrelation(4.0),), seed) > gap((), seed) + 0.2


@pytest.mark.parametrize(
    ("codes", "factors", "argument"),
    [
        (torch.zeros(4, 2), torch.arange(3)[:, None], "codes"),
        (torch.zeros(4), torch.arange(4)[:, None], "codes"),
        (torch.full((4, 2), torch.nan), torch.arange(4)[:, None], "codes"),
        (torch.zeros(4, 2), torch.ones(4, 1), "factors"),
    ],
)
def test_arrays_are_looked_at(codes: Tensor, factors: Tensor, argument: str) -> None:
    with pytest.raises(InputError) as found:
        mig(codes, factors)
    assert found.value.argument == argument


def test_bins_share_a_uniform_code_out_evenly() -> None:
    # 0, 1, ..., 999 in ten bins: each holds 100, so that the labels by hundreds are known whole
    codes, hundreds = torch.arange(1000.0)[:, None], torch.arange(1000)[:, None] // 100
    assert float(factor_information(codes, hundreds, bins=10)) == pytest.approx(math.log(10))
