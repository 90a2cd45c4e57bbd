"""The E-S step against its equations written out, and against what it must be in known cases."""

from __future__ import annotations

import pytest
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from guides.dvae.deepar import DeepARGuide
from guides.dvae.motion_filter import Evidence
from guides.dvae.srnn import SRNNGuide
from ppl_models.dvae.deepar import DeepAR
from ppl_models.dvae.motion import Motion
from ppl_models.dvae.srnn import SRNN
from ppl_models.errors import InputError
from tests.sequences import chain_of


def guides(model_class: type = SRNN, increments: bool = False, causal: bool = True):
    torch.manual_seed(0)
    motion = Motion(increments=increments, unit=0.1, inertia=increments, floor=0.05)
    model = model_class(likelihood=motion).double()
    guide = SRNNGuide(model, causal=causal) if model_class is SRNN else DeepARGuide(model)
    return model, guide.double()


def evidence(batch: tuple[int, ...] = (2, 3), length: int = 7) -> Evidence:
    precision = 20 * torch.rand(*batch, length, 4, dtype=torch.float64)
    precision[..., ::3, :] = 0.0  # frames without a detection
    return Evidence(precision, precision * torch.randn_like(precision))


def noise_like(x: Tensor) -> Tensor:
    return torch.randn(x.shape, dtype=x.dtype)


def by_hand(model, guide, given: Evidence, previous: Tensor, noise: Tensor | None):
    """Frame after frame, one path, from the equations of the module's docstring."""
    length, motion, zeros = previous.shape[-2], model.likelihood, torch.zeros_like(previous)
    z_path, rate = None, torch.tensor(0.0, dtype=previous.dtype)
    if noise is not None:
        chain = chain_of(guide, previous)
        z_path = torch.zeros(length, 4, dtype=previous.dtype)
        for t in range(length):  # moments of row t read rows before t only
            mean, scale = chain.moments(z_path.clone())
            z_path[t] = mean[t] + scale[t] * noise[t]
        q = Normal(*chain.moments(z_path))
    means, variances = [], []
    for t in range(length):
        past = torch.stack([*means, *[torch.zeros(4, dtype=previous.dtype)] * (length - t)])
        known = model.teacher_forced_past(past, zeros[:, :0] if z_path is None else z_path)
        h = model.read(known)[t]
        raw = model.emission(h, None if z_path is None else z_path[t])
        mu, scale = raw[:4], (raw[4:].exp() + 0.05**2).sqrt()
        if motion.increments:
            ahead = motion.unit * (mu + motion.inertia(known.frame_features)[t])
            mu, scale = (means[-1] + ahead, motion.unit * scale) if t else (0 * mu, 0 * scale + 0.5)
        if z_path is not None:
            last = z_path[t - 1] if t else torch.zeros_like(z_path[0])
            p = Normal(*model.prior(h, last))
            rate = rate + kl_divergence(Normal(q.mean[t], q.stddev[t]), p).sum()
        variance = 1 / (given.precision[t] + 1 / scale**2)
        mean = variance * (given.weighted[t] + mu / scale**2)
        rate = rate + kl_divergence(Normal(mean, variance.sqrt()), Normal(mu, scale)).sum()
        means.append(mean)
        variances.append(variance)
    return torch.stack(means), torch.stack(variances), rate


@pytest.mark.parametrize("length", [1, 2, 7])
@pytest.mark.parametrize("increments", [False, True])
@pytest.mark.parametrize(("model_class", "causal"), [(SRNN, True), (SRNN, False), (DeepAR, True)])
def test_recursion_is_the_paper_s(model_class, causal: bool, increments: bool, length: int) -> None:
    model, guide = guides(model_class, increments, causal)
    given = evidence(length=length)
    previous = torch.randn(2, 3, length, 4, dtype=torch.float64)
    noise = noise_like(previous) if model_class is SRNN else None
    with torch.no_grad():
        posterior = guide.source_posterior(given, previous, noise)
        assert posterior.rate.shape == (2, 3)
        for b, n in ((0, 0), (1, 2)):
            one = Evidence(given.precision[b, n], given.weighted[b, n])
            own = None if noise is None else noise[b, n]
            expected = by_hand(model, guide, one, previous[b, n], own)
            for value, wanted in zip(posterior, expected, strict=True):
                assert torch.allclose(value[b, n], wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("model", [SRNN, DeepAR])
def test_no_evidence_gives_the_prediction_and_all_evidence_the_detections(model) -> None:
    _, guide = guides(model)
    o, zeros = torch.randn(5, 6, 4, dtype=torch.float64), torch.zeros(5, 6, 4, dtype=torch.float64)
    blind = guide.source_posterior(Evidence(zeros, zeros), zeros, zeros)
    prior_only = guide.source_posterior(Evidence(zeros, zeros), o, zeros)
    if model is DeepAR:
        assert torch.allclose(blind.rate, torch.zeros(5, dtype=torch.float64), atol=1e-12)
        assert torch.allclose(blind.mean, prior_only.mean)
    sure = guide.source_posterior(Evidence(zeros + 1e12, 1e12 * o), zeros, zeros)
    assert torch.allclose(sure.mean, o, atol=1e-6)
    assert torch.allclose(sure.variance, zeros + 1e-12)


def test_rate_and_likelihood_make_the_predictive_density_of_the_detections() -> None:
    """Of one detection a frame, that of N(mu_t, v_t + Phi)."""
    model, guide = guides(DeepAR)
    o, phi = torch.randn(3, 6, 4, dtype=torch.float64), 0.2
    precision = torch.full_like(o, 1 / phi)
    q = guide.source_posterior(Evidence(precision, precision * o), o)
    inside = Normal(q.mean, phi**0.5).log_prob(o) - 0.5 * q.variance / phi
    with torch.no_grad():
        trace = poutine.trace(model).get_trace(q.mean)
        p = trace.nodes["s"]["fn"].distribution(q.mean).base_dist
    predictive = Normal(p.loc, (p.scale**2 + phi).sqrt()).log_prob(o)
    assert torch.allclose(inside.sum((-1, -2)) - q.rate, predictive.sum((-1, -2)))


def test_common_noise_repeats_and_drawn_noise_differs() -> None:
    _, guide = guides()
    given, previous = evidence(), torch.randn(2, 3, 7, 4, dtype=torch.float64)
    noise = noise_like(previous)
    first, again = (guide.source_posterior(given, previous, noise) for _ in range(2))
    assert torch.equal(first.mean, again.mean)
    assert not torch.equal(guide.source_posterior(given, previous).mean, first.mean)
    assert not first.mean.requires_grad


def test_float32_long_clips_stay_finite() -> None:
    torch.manual_seed(0)
    model = SRNN(likelihood=Motion(increments=True))
    guide = SRNNGuide(model)
    precision = torch.zeros(4, 1_000, 4)
    precision[:, :5] = 1e6
    q = guide.source_posterior(Evidence(precision, precision * 0.1), torch.zeros(4, 1_000, 4))
    assert all(torch.isfinite(part).all() for part in q)


@pytest.mark.parametrize("model_class", [SRNN, DeepAR])
def test_other_likelihoods_than_motion_are_refused(model_class) -> None:
    model = model_class(likelihood="gaussian")
    guide = SRNNGuide(model) if model_class is SRNN else DeepARGuide(model)
    zeros = torch.zeros(1, 5, 4)
    with pytest.raises(InputError, match="likelihood=Motion"):
        guide.source_posterior(Evidence(zeros, zeros), zeros)
