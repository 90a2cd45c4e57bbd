from __future__ import annotations

import torch
from pyro import poutine

from ppl_models.audio import Hum
from ppl_models.likelihoods import bin_power
from tests.sounds import F


def test_a_hum_is_the_mean_power() -> None:
    s = torch.randn(3, 50, 2 * F).double()
    model = Hum(F).double().start_from(s)
    assert torch.allclose(model.spectrum, bin_power(s).mean((0, 1)))
    trace = poutine.trace(model).get_trace(s)
    (slope,) = torch.autograd.grad(trace.log_prob_sum(), model.log_spectrum)
    assert slope.abs().max() < 1e-8 * 150  # of greatest likelihood


def test_a_past_changes_nothing() -> None:
    model = Hum(F)
    s = torch.randn(3, 2 * F)
    traces = [poutine.trace(model.path).get_trace(3, s, past=past) for past in (None, 0 * s)]
    assert traces[0].log_prob_sum() == traces[1].log_prob_sum()
