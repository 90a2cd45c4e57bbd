from __future__ import annotations

import torch

from ppl_models.audio import update_gains
from ppl_models.likelihoods.spectra import Power


def test_no_update_lowers_the_likelihood_of_a_frame_and_the_gain_is_found() -> None:
    """Of powers that are what they are expected to be, to one part in a thousand."""
    truth = torch.tensor([0.1, 1.0, 30.0]).double()
    v, rest = torch.rand(2, 3, 40).double() + 0.1
    power = truth[:, None] * v + rest
    gains = torch.ones(3).double()
    last = Power(gains[:, None] * v + rest).log_prob(power).sum(-1)
    for _ in range(300):
        gains = update_gains(power, gains, v, rest)
        now = Power(gains[:, None] * v + rest).log_prob(power).sum(-1)
        assert (now >= last - 1e-10).all()
        last = now
    assert torch.allclose(gains, truth, rtol=1e-3)


def test_silence_has_next_to_no_gain_and_may_grow_again() -> None:
    v, rest = torch.ones(1, 4), torch.full((1, 4), 1e-6)
    gains = torch.ones(1)
    for _ in range(200):
        gains = update_gains(torch.zeros(1, 4), gains, v, rest)
    assert 0 < gains.item() < 1e-9
    for _ in range(100):
        gains = update_gains(torch.ones(1, 4), gains, v, rest)
    assert abs(gains.item() - 1) < 0.01
