from __future__ import annotations

import math

import pytest
import torch
from pyro import poutine

from guides.audio import NMFGuide, TemporalNMFGuide
from inference import check, fit, importance
from ppl_models.audio import NMF, TemporalNMF
from ppl_models.errors import InputError
from tests.sounds import F, T


def test_one_component_has_nearly_its_exact_posterior_once_two_numbers_are_learned() -> None:
    """With K = 1 the evidence is an integral over one number a frame, taken on a grid.

    As it is built the guide is 0.34 nats a frame below it, with F = 5 bins only.
    """
    torch.manual_seed(1)
    model = NMF(F, 1, shape=1.5).double()
    guide = NMFGuide(model, iterations=50).double()
    with torch.no_grad():
        s = model(size=40, length=1)
    grid = torch.logspace(-5, 4, 4_000, base=10).double()
    power = s[..., :F] ** 2 + s[..., F:] ** 2
    joint = model.log_joint(power[:, None].expand(40, 4_000, 1, F), grid[None, :, None, None])
    step = (grid[1] / grid[0]).log()
    evidence = (joint + grid.log()).logsumexp(-1) + step.log()

    def gap() -> float:
        bound = torch.as_tensor(importance(model, guide, s, num_samples=500).elbo)
        return (evidence - bound).mean().item()

    model.requires_grad_(False)
    before = gap()
    fit(model, guide, s, epochs=60, learning_rate=0.05, progress=False)
    assert -0.02 < gap() < 0.1 < before < 0.5  # their error is 0.01


@pytest.mark.parametrize(
    ("model", "kind"), [(NMF(F, 3), NMFGuide), (TemporalNMF(F, 3), TemporalNMFGuide)]
)
def test_padded_frames_reach_nothing(model: NMF, kind: type[NMFGuide[NMF]]) -> None:
    guide = kind(model).double()
    model.double()
    s = torch.randn(2, T, 2 * F).double()
    mask = torch.arange(T) < torch.tensor([[T], [2]])
    hidden = torch.where(mask[..., None], s, math.nan)
    assert check(model, guide, s=hidden, mask=mask).sites
    one, other = guide.path(hidden, mask, 0.0), guide.path(s[1:, :2], None, 0.0)
    assert torch.allclose(one[1, :2], other[0])


def test_numbers_that_were_not_seen_are_read_as_the_last_ones() -> None:
    model = NMF(F, 2).double()
    guide = NMFGuide(model).double()
    s = torch.randn(2, T, 2 * F).double()
    observed = torch.rand(2, T, 2 * F) < 0.8
    hidden = torch.where(observed, s, math.nan)
    drawn = poutine.trace(guide).get_trace(hidden, observed=observed)
    trace = poutine.trace(poutine.replay(model, trace=drawn)).get_trace(hidden, observed=observed)
    assert trace.log_prob_sum().isfinite() and drawn.log_prob_sum().isfinite()


def test_the_guide_follows_what_it_learns() -> None:
    model = NMF(F, 2).double()
    guide = NMFGuide(model).double()
    power = torch.rand(1, T, F).double()
    (before, mean), n = guide.moments(power), model.shape
    guide.log_count.data[1] += 1.0
    guide.log_mean.data[0] += 1.0
    after, moved = guide.moments(power)
    assert torch.allclose((after - n)[..., 1], (before - n)[..., 1] * math.e)
    assert torch.allclose(moved[..., 0], mean[..., 0] * math.e)
    assert torch.allclose(after[..., 0], before[..., 0])
    with pytest.raises(InputError, match="iterations"):
        NMFGuide(model, iterations=0)
    with pytest.raises(InputError, match="sequences of bins"):
        guide(None)
