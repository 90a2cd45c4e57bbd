from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from inference.metrics.ensembles import LEVELS, crps, energy_score, region_coverage
from ppl_models.errors import InputError


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return 2 * torch.randn(*shape, 2, generator=generator, dtype=torch.float64)


def two_humps(generator: torch.Generator, *shape: int) -> Tensor:
    side = torch.randint(2, (*shape, 1), generator=generator) * 16
    return torch.randn(*shape, 2, generator=generator, dtype=torch.float64) + side


def whole_pixels(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randint(3, (*shape, 2), generator=generator).double()


@pytest.mark.parametrize("law", [normal, two_humps, whole_pixels])
@pytest.mark.parametrize("count", [2, 10, 100])
def test_truth_of_the_samples_law_is_covered_at_the_levels(
    law: Callable[..., Tensor], count: int
) -> None:
    generator = torch.Generator().manual_seed(count)
    held = region_coverage(law(generator, count, 4000), law(generator, 4000))
    assert held.shape == (3, 4000) and ((held >= 0) & (held <= 1)).all()
    error = held.std(1) / math.sqrt(4000) + 1e-9
    assert ((held.mean(1) - torch.tensor(LEVELS)).abs() < 4 * error).all()  # standard errors


def test_a_region_may_have_two_parts_and_leaves_out_what_is_between() -> None:
    generator = torch.Generator().manual_seed(0)
    samples = two_humps(generator, 100, 1).expand(100, 3, 2)
    held = region_coverage(samples, torch.tensor([[0.0, 0], [16, 16], [8, 8]]), (0.8,))
    assert held[0].tolist() == [1, 1, 0]


def test_futures_too_narrow_or_too_wide_or_aside_are_found_out() -> None:
    generator = torch.Generator().manual_seed(0)
    truth, samples = normal(generator, 2000), normal(generator, 50, 2000)
    for spoilt, low, high in (
        (samples / 2, 0.2, 0.4),
        (2 * samples, 0.93, 1),
        (samples + 4, 0, 0.6),
    ):
        held = region_coverage(spoilt, truth, (0.8,)).mean()
        # Gaussian, scale r: 1 - 0.2^(r^2) of the truth within the region of 80 %, before smoothing
        assert low < held < high


def test_a_law_without_spread_covers_itself_and_the_score_is_zero() -> None:
    place = torch.tensor([[3.0, 4]])
    held = region_coverage(place.expand(10, 1, 2), place)
    assert torch.allclose(held[:, 0], torch.tensor(LEVELS).double())
    assert not region_coverage(place.expand(10, 1, 2), place + 5, (0.5, 0.9)).any()
    assert energy_score(place.expand(10, 1, 2), place).item() == 0
    assert torch.allclose(
        energy_score(place.expand(10, 1, 2), place + 3), torch.tensor(18.0).sqrt().double()
    )


def test_crps_of_a_gaussian_is_the_closed_form_on_average() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.tensor([-1.0, 0.0, 0.3, 2.5]).double()
    for count in (2, 20):
        draws = torch.randn(count, 20000, 4, generator=generator, dtype=torch.float64)
        found = crps(draws, truth.expand(20000, 4))
        unit = torch.distributions.Normal(0.0, 1.0)
        density = unit.log_prob(truth).exp()
        exact = truth * (2 * unit.cdf(truth) - 1) + 2 * density - 1 / math.sqrt(math.pi)
        error = found.std(0) / math.sqrt(20000)
        assert ((found.mean(0) - exact).abs() < 4 * error).all()  # the fair form has no bias in S


def test_scores_are_the_double_sums() -> None:
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(7, 3, 4, 2, generator=generator, dtype=torch.float64)
    truth = torch.randn(3, 4, 2, generator=generator, dtype=torch.float64)
    between = (draws[:, None] - draws).abs().sum((0, 1)) / (2 * 7 * 6)
    assert torch.allclose(crps(draws, truth), (draws - truth).abs().mean(0) - between)
    between = (draws[:, None] - draws).norm(dim=-1).sum((0, 1)) / (2 * 7 * 6)
    assert torch.allclose(
        energy_score(draws, truth), (draws - truth).norm(dim=-1).mean(0) - between
    )
    # of one axis both are one
    assert torch.allclose(energy_score(draws[..., :1], truth[..., :1]), crps(draws, truth)[..., 0])
    assert torch.allclose(crps(draws.numpy(), truth.numpy()), crps(draws, truth))


def test_the_energy_score_does_not_change_with_the_axes_nor_the_order() -> None:
    generator = torch.Generator().manual_seed(0)
    draws, truth = normal(generator, 9, 5), normal(generator, 5)
    angle = torch.tensor(0.7).double()
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
    plain = energy_score(draws, truth)
    assert torch.allclose(energy_score(draws @ turn + 3, truth @ turn + 3), plain)
    assert torch.allclose(energy_score(draws.flip(0), truth), plain)
    assert torch.allclose(energy_score(2 * draws, 2 * truth), 2 * plain)


def test_no_law_scores_better_than_the_true_one() -> None:
    generator = torch.Generator().manual_seed(0)
    truth, samples = normal(generator, 5000), normal(generator, 20, 5000)
    for spoilt in (0.7 * samples, 1.4 * samples, samples + 0.8):
        worse = energy_score(spoilt, truth) - energy_score(samples, truth)
        assert worse.mean() > 4 * worse.std() / math.sqrt(5000)
        worse = (crps(spoilt, truth) - crps(samples, truth)).mean(-1)
        assert worse.mean() > 4 * worse.std() / math.sqrt(5000)


def test_what_is_wrong_is_named() -> None:
    generator = torch.Generator().manual_seed(0)
    truth, samples = normal(generator, 4, 3), normal(generator, 5, 4, 3)
    for score in (crps, energy_score, region_coverage):
        with pytest.raises(InputError, match="no spread"):
            score(samples[:1], truth)
        with pytest.raises(InputError, match="the same but for S"):
            score(samples[:, :3], truth)
        with pytest.raises(InputError, match="samples: saw 1 of 120 numbers not finite"):
            score(torch.where(samples == samples[0, 0, 0, 0], math.nan, samples), truth)
    for levels in ((), (0.5, 1.0), (0.0,)):
        with pytest.raises(InputError, match="levels"):
            region_coverage(samples, truth, levels)
    with pytest.raises(InputError, match="bandwidth"):
        region_coverage(samples, truth, bandwidth=0)
