"""The smoothing E-S step against dense Gaussian conditioning, and on paths it has to bridge."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from guides.dvae.deepar import DeepARGuide
from guides.dvae.motion_filter import Evidence
from guides.dvae.motion_smoother import smooth_source
from guides.dvae.srnn import SRNNGuide
from ppl_models.dvae.deepar import DeepAR
from ppl_models.dvae.motion import Motion
from ppl_models.dvae.srnn import SRNN
from ppl_models.errors import InputError


def scene(length: int, inertia: bool) -> tuple[Motion, Evidence, Tensor]:
    motion = Motion(2, increments=True, inertia=inertia, unit=0.3, start_scale=0.7).double()
    precision = 5 * torch.rand(3, length, 2, dtype=torch.float64)
    precision[:, 1::3] = 0.0
    evidence = Evidence(precision, precision * torch.randn_like(precision))
    mean, scale = torch.randn_like(precision), 0.2 + torch.rand_like(precision)
    return motion, evidence, torch.cat([mean, 2 * scale.log()], -1)


def dense_prior(motion: Motion, mean: Tensor, scale: Tensor, dim: int = 0) -> MultivariateNormal:
    """p(s) of one dim of one path, from s = A (drift + noise) written out as a matrix."""
    length, unit = len(mean), motion.unit[dim]
    rates = motion.inertia.rates() if motion.inertia else (torch.zeros(4),) * 2
    share, keep = (x[dim] for x in rates)
    carry = torch.zeros(length, length, dtype=torch.float64)  # step -> what is carried on of it
    for t in range(1, length):
        for k in range(1, t):
            carry[t, k] = share * (1 - keep) * keep ** (t - 1 - k)
    steps = torch.linalg.inv(torch.eye(length, dtype=torch.float64) - carry)
    paths = torch.ones(length, length, dtype=torch.float64).tril() @ steps
    first = torch.arange(length) == 0
    drift = torch.where(first, 0.0, unit * mean)
    noise = torch.where(first, motion.start_scale, unit * scale)
    covariance = paths @ torch.diag(noise**2) @ paths.T
    return MultivariateNormal(paths @ drift, covariance)


@pytest.mark.parametrize("inertia", [False, True])
@pytest.mark.parametrize("length", [1, 2, 9])
@torch.no_grad()
def test_posterior_and_rate_are_the_exact_ones(length: int, inertia: bool) -> None:
    motion, evidence, raw = scene(length, inertia)
    q = smooth_source(motion, evidence, raw)
    mean, scale = raw[..., :2], (0.5 * raw[..., 2:]).exp()
    rates = torch.zeros(3, dtype=torch.float64)
    for b in range(3):
        for d in range(2):
            prior = dense_prior(motion, mean[b, :, d], scale[b, :, d])
            information = prior.precision_matrix + torch.diag(evidence.precision[b, :, d])
            covariance = torch.linalg.inv(information)
            natural = prior.precision_matrix @ prior.mean + evidence.weighted[b, :, d]
            exact = MultivariateNormal(covariance @ natural, covariance)
            rates[b] += kl_divergence(exact, prior)
            assert torch.allclose(q.mean[b, :, d], exact.mean, atol=1e-9)
            assert torch.allclose(q.variance[b, :, d], covariance.diagonal(), atol=1e-9)
    assert torch.allclose(q.rate, rates, atol=1e-8)


def test_float32_keeps_the_rate_of_a_long_far_path() -> None:
    torch.manual_seed(0)
    model = DeepAR(likelihood=Motion(increments=True, inertia=True))
    guide = DeepARGuide(model, smooth=True)
    o = 5.0 + 0.02 * torch.randn(2, 300, 4).cumsum(1)
    precision = torch.full_like(o, 600.0)
    precision[:, 100:200] = 0
    precise = DeepARGuide(model, smooth=True)
    low = guide.source_posterior(Evidence(precision, precision * o), o)
    model.double()
    evidence = Evidence(precision.double(), precision.double() * o.double())
    high = precise.source_posterior(evidence, o.double())
    assert torch.allclose(low.rate.double(), high.rate, rtol=1e-3, atol=0.05)
    assert torch.allclose(low.mean.double(), high.mean, atol=1e-4)
    assert torch.all(low.variance > 0)
    assert torch.allclose(low.variance.double(), high.variance, rtol=1e-2)


@pytest.mark.parametrize("model_class", [SRNN, DeepAR])
def test_any_leading_dims_and_independent_sources(model_class) -> None:
    model = model_class(likelihood=Motion(increments=True, inertia=True)).double()
    guide = (
        SRNNGuide(model, smooth=True) if model_class is SRNN else DeepARGuide(model, smooth=True)
    )
    guide.double()
    precision = torch.rand(2, 3, 6, 4, dtype=torch.float64)
    evidence = Evidence(precision, torch.randn_like(precision))
    previous, noise = torch.randn_like(precision), torch.randn_like(precision)
    q = guide.source_posterior(evidence, previous, noise)
    assert q.rate.shape == (2, 3)
    alone = Evidence(*(x[1, 2] for x in evidence))
    one = guide.source_posterior(alone, previous[1, 2], noise[1, 2])
    for whole, alone in zip(q, one, strict=True):
        assert torch.allclose(whole[1, 2], alone)


def test_a_gap_is_bridged_from_both_sides() -> None:
    """Constant velocity, unseen for a third: the smoother stays close, the filter drifts off."""
    torch.manual_seed(0)
    model = DeepAR(likelihood=Motion(increments=True, inertia=True, unit=0.05))
    with torch.no_grad():
        model.emission.head[1][-1].weight.zero_()
        model.emission.head[1][-1].bias.copy_(torch.tensor([0.0] * 4 + [-4.0] * 4))
    s = 0.03 * torch.arange(60.0)[:, None] * torch.ones(4)
    precision = torch.full_like(s, 1e4)
    precision[20:40] = 0.0
    evidence = Evidence(precision, precision * s)
    smoothed = DeepARGuide(model, smooth=True).source_posterior(evidence, s)
    filtered = DeepARGuide(model).source_posterior(evidence, s)
    gap = slice(20, 40)
    errors = [(q.mean - s)[gap].abs().max() for q in (smoothed, filtered)]
    assert errors[0] < 0.05 < errors[1]
    assert smoothed.variance[30, 0] > 4 * smoothed.variance[10, 0]


def test_positions_have_no_motion_to_smooth() -> None:
    guide = DeepARGuide(DeepAR(), smooth=True)
    zeros = torch.zeros(1, 5, 4)
    with pytest.raises(InputError, match="a likelihood of increments"):
        guide.source_posterior(Evidence(zeros, zeros), zeros)


def test_noise_free_detections_are_met() -> None:
    motion, evidence, raw = scene(5, True)
    precise = Evidence(0 * evidence.precision + 1e9, 1e9 * evidence.weighted)
    with torch.no_grad():
        q = smooth_source(motion, precise, raw)
    assert torch.allclose(q.mean, evidence.weighted, atol=1e-5)
    assert isinstance(Normal(q.mean, q.variance.sqrt()), Normal)
