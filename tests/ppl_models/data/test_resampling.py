from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ppl_models.data.resampling import parts_at_own_rate, resample
from ppl_models.data.stft import STFT
from ppl_models.errors import InputError

SMALL = STFT(rate=1000)


def tone(hertz: float, samples: int, rate: int) -> Tensor:
    return torch.sin(2 * math.pi * hertz * torch.arange(samples) / rate)


@pytest.mark.parametrize("own_rate", [1000, 2205, 800])
@pytest.mark.parametrize("samples", [1, 7, 2001])
def test_parts_of_any_rate_and_length_add_up_to_the_sound(own_rate: int, samples: int) -> None:
    """To the rounding of float32: numbers up to 5, so that 1e-5 is some twenty steps."""
    wave = torch.randn(samples, generator=torch.Generator().manual_seed(0))
    known = wave if own_rate == 1000 else resample(wave, own_rate, 1000)
    cut = torch.rand(3, len(known), generator=torch.Generator().manual_seed(1))
    parts = parts_at_own_rate(cut / cut.sum(0) * known, SMALL, wave, own_rate)
    assert parts.shape == (3, samples)
    torch.testing.assert_close(parts.sum(0), wave, atol=1e-5, rtol=0)


def test_what_the_model_cannot_hear_goes_where_the_top_of_its_band_went() -> None:
    """At 4000 Hz a tone of 1500 Hz that a model of 1000 Hz does not hear, beside 450 and 100 Hz.

    All of it belongs to the part with the 450 Hz, to a thousandth, which the sine window leaks.
    """
    heard = tone(450, 4000, 1000), tone(100, 4000, 1000)
    own = [tone(450, 16000, 4000), tone(100, 16000, 4000), tone(1500, 16000, 4000)]
    parts = parts_at_own_rate(torch.stack(heard), SMALL, own[0] + own[1] + own[2], 4000)
    middle = slice(2000, 14000)  # filters ring at the edges
    error = parts - torch.stack([own[0] + own[2], own[1]])
    assert error[:, middle].square().mean(-1).max() < 1e-3


def test_the_rest_of_silent_parts_is_shared_evenly() -> None:
    wave = tone(1500, 400, 4000)
    parts = parts_at_own_rate(torch.zeros(2, 100), SMALL, wave, 4000)
    torch.testing.assert_close(parts, (wave / 2).expand(2, -1))


def test_parts_of_another_sound_are_refused() -> None:
    with pytest.raises(InputError, match="99 samples at 1000 Hz, for 400 at 4000 Hz"):
        parts_at_own_rate(torch.zeros(2, 99), SMALL, torch.zeros(400), 4000)
