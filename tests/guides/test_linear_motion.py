"""The guides of linear motion are its posteriors: against dense conditioning and plain filters."""

from __future__ import annotations

import pytest
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import MultivariateNormal

from guides.dvae.motion_filter import Evidence
from guides.linear_motion import LinearMotionGuide
from inference import sbc
from ppl_models.errors import InputError
from ppl_models.linear_motion import LinearMotion
from tests.dense import covariance

T, D = 12, 4


def pair(causal: bool = False) -> tuple[LinearMotion, LinearMotionGuide]:
    model = LinearMotion(decay=(1.0, 0.9, 0.5, 0.8)).double()
    return model, LinearMotionGuide(model, causal=causal)


def some_evidence(batch: tuple[int, ...] = (3,), length: int = T) -> Evidence:
    """Detections of 1 to 10 % of a height, and frames without a detection."""
    precision = 10 ** (2 + 2 * torch.rand(*batch, length, D, dtype=torch.float64))
    precision[..., 1::3, :] = 0.0
    precision[..., 4:8, :] = 0.0
    return Evidence(precision, precision * torch.randn_like(precision))


def test_velocity_given_the_path_is_exact() -> None:
    """Joint less q is the evidence, whatever z; and q has the moments of dense conditioning."""
    model, guide = pair()
    s = model(size=5, length=T).detach()
    q = guide.velocity(s)
    evidence = sum(
        MultivariateNormal(torch.zeros(T).double(), cov[T:, T:]).log_prob(s[..., d])
        for d, cov in enumerate(covariance(model, T))
    )
    for z in (q.rsample(), torch.randn_like(s), torch.zeros_like(s)):
        trace = poutine.trace(poutine.condition(model, data={"z": z})).get_trace(s)
        # z far off has 1e7 nats or so, of which doubles keep nine digits after the point
        assert torch.allclose(trace.log_prob_sum(), (evidence + q.log_prob(z)).sum(), rtol=1e-12)
    for d, cov in enumerate(covariance(model, T)):
        gain = cov[:T, T:] @ torch.linalg.inv(cov[T:, T:])
        assert torch.allclose(q.loc[..., d], s[..., d] @ gain.T, atol=1e-9)
        precision = q.precision_tril[d] @ q.precision_tril[d].T
        assert torch.allclose(
            torch.linalg.inv(precision), cov[:T, :T] - gain @ cov[T:, :T], atol=1e-10
        )


def test_velocity_draws_have_the_moments_they_are_scored_by() -> None:
    _, guide = pair()
    distribution = guide.velocity(torch.randn(2, 5, D, dtype=torch.float64).cumsum(1) * 0.02)
    draws = 20_000
    x = distribution.expand((2,)).rsample((draws,)).detach() - distribution.loc
    for d in range(D):
        cov = torch.linalg.inv(
            distribution.precision_tril[d] @ distribution.precision_tril[d].T
        ).detach()
        scale = torch.outer(cov.diag().sqrt(), cov.diag().sqrt())
        for b in range(2):
            error = (x[:, b, :, d].T @ x[:, b, :, d] / draws - cov) / scale
            # five standard errors, 8 x 15 chances of 6e-7
            assert (error.abs() < 5 * ((1 + (cov / scale) ** 2) / draws).sqrt()).all()


def test_velocity_in_plates_is_that_of_each_path() -> None:
    _, guide = pair()
    s = torch.randn(2, 1, 3, T, D, dtype=torch.float64)
    distribution = guide.velocity(s)
    z = distribution.rsample((4,))
    assert z.shape == (4, *s.shape)
    alone = guide.velocity(s[1, 0, 2])
    assert torch.allclose(distribution.log_prob(z)[:, 1, 0, 2], alone.log_prob(z[:, 1, 0, 2]))


def test_padded_paths_are_those_cut_there() -> None:
    _, guide = pair()
    s, lengths = torch.randn(4, T, D, dtype=torch.float64), torch.tensor([T, 7, 2, 1])
    mask = torch.arange(T) < lengths[:, None]
    hidden = torch.where(mask[..., None], s, torch.nan).requires_grad_()
    distribution = guide.velocity(hidden, mask)
    z = distribution.expand((4,)).rsample()
    assert torch.isfinite(z).all()
    wild = torch.where(mask[..., None], z, torch.nan)
    for b, length in enumerate(lengths):
        alone = guide.velocity(s[b, :length])
        assert torch.allclose(distribution.loc[b, :length], alone.loc)
        assert torch.allclose(distribution.log_prob(wild)[b], alone.log_prob(z[b, :length]))
    distribution.log_prob(z).sum().backward()
    assert torch.isfinite(hidden.grad).all() and (hidden.grad[~mask] == 0).all()
    draws = guide.velocity(s, mask).rsample((20_000,))[:, 1, :7] - distribution.loc[1, :7]
    spread = torch.linalg.inv(alone_precision(guide, s[1, :7])).diagonal(dim1=-2, dim2=-1).mT
    # variances of 7 x 4 Gaussians: five standard errors of sqrt(2 / draws)
    assert ((draws.var(0) / spread - 1).abs() < 5 * (2 / 20_000) ** 0.5).all()


def alone_precision(guide: LinearMotionGuide, s: Tensor) -> Tensor:
    tril = guide.velocity(s).precision_tril
    return tril @ tril.mT


def test_simulation_based_calibration() -> None:
    model, guide = pair()
    s = torch.zeros(500, 4, D, dtype=torch.float64)
    # a right guide fails one seed in 1,000; this one is fixed
    assert sbc(model, guide, s, simulations=500, num_samples=49).pvalue("z") > 1e-3


@pytest.mark.parametrize("length", [1, 2, T])
def test_smoother_is_dense_conditioning(length: int) -> None:
    model, guide = pair()
    evidence = some_evidence(length=length)
    q = guide.source_posterior(evidence)
    log_evidence = torch.zeros(3, dtype=torch.float64)
    for d, cov in enumerate(covariance(model, length)):
        prior = cov[length:, length:]
        for b in range(3):
            precision, weighted = evidence.precision[b, :, d], evidence.weighted[b, :, d]
            variance = torch.linalg.inv(torch.linalg.inv(prior) + precision.diag())
            assert torch.allclose(q.mean[b, :, d], variance @ weighted, atol=1e-8)
            assert torch.allclose(q.variance[b, :, d], variance.diag(), rtol=1e-8)
            there = precision > 0
            o = (weighted / precision)[there]
            total = prior[there][:, there] + (1 / precision[there]).diag()
            log_evidence[b] += MultivariateNormal(torch.zeros(len(o)).double(), total).log_prob(o)
    # E_q log p(o | s) - KL(q || p) is the evidence, q being the posterior
    there = evidence.precision > 0
    o = torch.where(there, evidence.weighted / evidence.precision, 0.0)
    error = (o - q.mean) ** 2 + q.variance
    fit = 0.5 * (evidence.precision.log() - 1.8378770664093453 - evidence.precision * error)
    bound = torch.where(there, fit, 0.0).sum((-1, -2)) - q.rate
    assert torch.allclose(bound, log_evidence, rtol=1e-9)
    assert (q.rate > 0).all()


@pytest.mark.parametrize("causal", [False, True])
def test_no_evidence_gives_the_prior(causal: bool) -> None:
    model, guide = pair(causal)
    zeros = torch.zeros(2, T, D, dtype=torch.float64)
    q = guide.source_posterior(Evidence(zeros, zeros))
    assert torch.equal(q.mean, zeros)
    prior = covariance(model, T)[:, T:, T:].diagonal(dim1=-2, dim2=-1).T
    assert torch.allclose(q.variance, prior.expand(2, -1, -1))
    if not causal:
        assert q.rate.abs().max() < 1e-10


def test_padding_without_evidence_costs_nothing() -> None:
    for causal in (False, True):
        _, guide = pair(causal)
        evidence = some_evidence()
        more = Evidence(*(torch.cat([x, torch.zeros(3, 5, D)], 1) for x in evidence))
        q, longer = guide.source_posterior(evidence), guide.source_posterior(more)
        assert torch.allclose(longer.mean[:, :T], q.mean)
        assert torch.allclose(longer.variance[:, :T], q.variance)
        assert causal or torch.allclose(longer.rate, q.rate, rtol=1e-9)


def textbook_filter(model: LinearMotion, evidence: Evidence, d: int) -> tuple[Tensor, Tensor]:
    """Kalman 1960 with matrices: state (s, z), detections of variance 1 / precision."""
    a, length = model.decay[d], evidence.precision.shape[0]
    qz, qs, q0 = (
        (2 * x[d]).exp() for x in (model.log_speed_noise, model.log_position_noise, model.log_speed)
    )
    move = torch.stack([torch.stack([a / a, a]), torch.stack([0 * a, a])])
    noise = torch.stack([torch.stack([qs + qz, qz]), torch.stack([qz, qz])])
    emission = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    mean = torch.zeros(2, 1, dtype=torch.float64)
    cov = torch.diag(torch.stack([a / a * model.start_scale**2, q0]))
    means, variances = [], []
    for t in range(length):
        if t:
            mean, cov = move @ mean, move @ cov @ move.T + noise
        if evidence.precision[t, d] > 0:
            innovation = emission @ cov @ emission.T + 1 / evidence.precision[t, d]
            gain = cov @ emission.T / innovation
            o = evidence.weighted[t, d] / evidence.precision[t, d]
            mean, cov = mean + gain * (o - emission @ mean), cov - gain @ emission @ cov
        means.append(mean[0, 0])
        variances.append(cov[0, 0])
    return torch.stack(means), torch.stack(variances)


@torch.no_grad()
def test_causal_is_the_textbook_kalman_filter() -> None:
    model, guide = pair(causal=True)
    evidence = some_evidence((), length=40)
    q = guide.source_posterior(evidence)
    for d in range(D):
        mean, variance = textbook_filter(model, evidence, d)
        assert torch.allclose(q.mean[:, d], mean, atol=1e-6)
        assert torch.allclose(q.variance[:, d], variance, rtol=1e-6)
    assert torch.isnan(q.rate)  # a filter is no posterior of the path


@pytest.mark.parametrize("causal", [False, True])
def test_long_clips_with_long_gaps_in_float32(causal: bool) -> None:
    """After 900 missed frames variances of 1e3 are subtracted, and 1e-6 must remain."""
    model = LinearMotion()
    guide = LinearMotionGuide(model, causal=causal)
    precision = torch.zeros(2, 1_000, D)
    precision[:, :50] = precision[:, -50:] = 1e6
    o = (torch.randn(2, 1_000, D) * 0.02).cumsum(1)
    q = guide.source_posterior(Evidence(precision, precision * o))
    assert q.mean.dtype == torch.float32
    assert (q.variance > 0).all() and torch.isfinite(q.variance).all()
    # a path is no surer than what was observed of it, by float32's 1e-7
    assert (q.variance[:, :50] <= 1.001e-6).all() and (q.variance[:, 500] > 1e-4).all()
    exact = LinearMotionGuide(LinearMotion().double(), causal=causal).source_posterior(
        Evidence(precision.double(), (precision * o).double())
    )
    for value, wanted in zip(q, exact, strict=True):
        # the models' constants themselves are rounded: 1e-7 of each, some 1e-5 of a long gap's
        assert torch.allclose(value.double(), wanted, rtol=1e-4, atol=1e-5, equal_nan=True)


def test_batches_are_their_sequences() -> None:
    _, guide = pair()
    evidence = some_evidence((2, 3))
    q = guide.source_posterior(evidence)
    one = guide.source_posterior(Evidence(evidence.precision[1, 2], evidence.weighted[1, 2]))
    for whole, part in zip(q, one, strict=True):
        assert torch.allclose(whole[1, 2], part, rtol=1e-12, atol=1e-14)


def test_the_guide_looks_at_paths() -> None:
    with pytest.raises(InputError, match="simulate with the model"):
        pair()[1](None)


def test_the_guide_owns_nothing_of_the_model() -> None:
    assert not list(pair()[1].parameters())
