from __future__ import annotations

import pytest
import torch

from inference.metrics.masks import ideal_binary_mask, ideal_ratio_mask, masked
from inference.metrics.speech import si_sdr
from ppl_models.data.stft import STFT
from ppl_models.errors import InputError

SMALL = STFT(1000, 16, 4)


def powers() -> torch.Tensor:
    found = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found[:, 0, 0] = 0  # all silent
    found[:, 1, 1] = torch.tensor([0.0, 2.0, 0.0])  # one alone
    found[:, 2, 2] = 1.0  # equals
    return found


def test_shares_sum_to_one_and_are_those_of_the_powers() -> None:
    mask = ideal_ratio_mask(powers())
    assert torch.allclose(mask.sum(0), torch.ones(4, 5).double(), atol=1e-15)
    assert mask[:, 0, 0].tolist() == pytest.approx([1 / 3] * 3)
    assert mask[:, 1, 1].tolist() == [0, 1, 0]
    assert mask[1, 3, 3] == powers()[1, 3, 3] / powers()[:, 3, 3].sum()


def test_one_source_has_a_bin_of_the_binary_mask_and_the_first_of_equals() -> None:
    mask = ideal_binary_mask(powers())
    assert (mask.sum(0) == 1).all() and ((mask == 0) | (mask == 1)).all()
    assert mask[:, 1, 1].tolist() == [0, 1, 0] and mask[:, 2, 2].tolist() == [1, 0, 0]
    assert (mask * powers()).sum(0).equal(powers().amax(0))


def test_the_ratio_mask_of_variances_has_the_least_mean_square_error() -> None:
    generator = torch.Generator().manual_seed(0)
    variances = torch.tensor([4.0, 1.0, 0.2])
    bins = torch.randn(3, 200_000, 2, generator=generator) * variances[:, None, None].sqrt()
    errors = [
        (share * bins.sum(0) - bins).square().mean((1, 2))
        for share in (
            ideal_ratio_mask(variances)[:, None, None] + change for change in (0.0, -0.05, 0.05)
        )
    ]
    assert (errors[0] < errors[1]).all() and (errors[0] < errors[2]).all()
    # closed form: v (1 - share); 400,000 squares of a spread of sqrt(2) of their mean
    expected = variances * (1 - ideal_ratio_mask(variances))
    assert torch.allclose(errors[0], expected, rtol=5 * (2 / 400_000) ** 0.5)


def test_masked_sounds_sum_to_the_mixture_and_are_better_than_it() -> None:
    time = torch.arange(999) / 1000
    sources = torch.stack([torch.sin(2 * torch.pi * hertz * time) for hertz in (60.0, 220.0)])
    found = masked(sources.sum(0), ideal_ratio_mask(SMALL.power(sources)), SMALL)
    assert torch.allclose(found.sum(0), sources.sum(0), atol=1e-5)
    assert (si_sdr(sources, found) > si_sdr(sources, sources.sum(0).expand(2, -1)) + 20).all()


def test_powers_below_zero_are_refused() -> None:
    for wrong in (torch.tensor([1.0, -1.0]), torch.tensor([float("nan")]), torch.zeros(0)):
        with pytest.raises(InputError, match=r"STFT.power\(sources\)"):
            ideal_ratio_mask(wrong)
