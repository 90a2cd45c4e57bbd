"""Particles against exact evidence and moments, and against scores of whole sequences."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from inference import importance
from inference.randomness import seeded
from inference.tasks.particle_filter import ParticleEstimates, _systematic, _take, particle_filter
from ppl_models.distributions.kalman import kalman_filter
from ppl_models.dvae.dkf import DKF
from ppl_models.dvae.kvae import KVAE
from ppl_models.dvae.rvae import RVAE
from ppl_models.dvae.transformer import HiTDVAE
from ppl_models.errors import InputError
from ppl_models.lds import LDS
from tests.ppl_models.dvae.test_dkf import twins
from tests.sequences import AUTOREGRESSIVE, IN_TURN, D, L, Member, paths, ragged


def of(model: Any, *data: Any, count: int = 4000, seed: int = 0) -> ParticleEstimates:
    return particle_filter(model, *data, num_particles=count, seed=seed)


def linear() -> tuple[DKF, LDS, Tensor]:
    with seeded(3):
        model, lds = twins()
        return model, lds, paths(model, 4, 8)["s"]


def test_a_linear_model_has_the_evidence_and_the_means_of_kalman_s_filter() -> None:
    """Five standard errors: of z by the filter's variance over ESS, of log p by 12 repeats."""
    model, lds, s = linear()
    found = [of(model, s, seed=seed) for seed in range(12)]
    each = torch.stack([run.log_evidence for run in found])
    error = each.std(0)
    assert (error < 0.3).all()
    off = each.mean(0) + 0.5 * error**2 - lds.log_evidence(s)
    assert (off.abs() < 5 * error / 12**0.5 + 0.5 * error**2).all()
    exact, ess = lds.filter(s), torch.stack([run.ess for run in found]).sum(0)
    sd = exact.cov.diagonal(dim1=-2, dim2=-1).sqrt()
    mean = torch.stack([run.mean for run in found]).mean(0)
    assert ((mean - exact.mean).abs() < 5 * sd * (2 / ess[..., None]).sqrt()).all()
    assert (ess > 12 * 40).all() and (ess < 12 * 4000).all()


def test_a_kalman_vae_that_is_linear_has_the_evidence_of_its_kalman_filter() -> None:
    """One mode, a decoder without hidden layers: s is an LDS's, whose emission is their product."""
    with seeded(4):
        model = KVAE(3, 2, 3, 1, hidden_dims=(), start_scale=1.0, noise_scale=0.5).double()
        torch.nn.init.normal_(model.emission)
        s = model(size=3, length=6).detach()
    decoder = [part for part in model.decoder.modules() if isinstance(part, torch.nn.Linear)][0]
    noise, own = model.likelihood.log_scale.exp().expand(3), model.log_noise.exp()
    params = model.dynamics(torch.zeros(1, 6, 2).double())
    mean = decoder.weight @ params.emission[..., 0, :, :].expand(3, 2, 3)[0]
    cov = noise.square().diag() + decoder.weight @ own.square().diag() @ decoder.weight.mT
    root = torch.linalg.cholesky(cov)  # white noise: kalman_filter takes a diagonal
    whiten = torch.linalg.inv(root)
    white = params._replace(
        emission=(whiten @ mean)[None],
        emission_offset=(whiten @ decoder.bias)[None],
        noise_variance=torch.ones(1, 3).double(),
    )
    exact = kalman_filter(white, s @ whiten.mT).log_evidence.sum(-1)
    exact = exact - 6 * root.diagonal().log().sum()
    found = torch.stack([of(model, s, seed=seed).log_evidence for seed in range(12)])
    error = found.std(0)
    assert (error < 0.3).all()
    off = found.mean(0) + 0.5 * error**2 - exact
    assert (off.abs() < 5 * error / 12**0.5 + 0.5 * error**2).all()


@pytest.mark.parametrize("modes", [1, 3])
def test_a_kalman_vae_has_the_evidence_of_codes_drawn_blindly(modes: int) -> None:
    with seeded(5), torch.no_grad():
        model = KVAE(3, 2, 3, modes, start_scale=1.0, noise_scale=0.5, feedback=True).double()
        for parameter in (model.emission, model.control):
            torch.nn.init.normal_(parameter, std=0.5)
        s = model(size=2, length=3)
        weights = model.observation(model.simulate((20_000, 2), 3)).log_prob(s)
    agree(of(model, s, count=5_000), weights)


@IN_TURN
def test_frame_by_frame_a_model_has_the_evidence_of_whole_sequences(member: Member) -> None:
    """Particles run frame by frame; importance weights score all frames at once."""
    model, guide = member.pair()
    s = paths(model, 2, 3)["s"]
    weights = importance(model, guide, s, num_samples=40_000).log_weights
    agree(of(model, s, count=15_000), weights)


def agree(run: ParticleEstimates, weights: Tensor) -> None:
    """Five standard errors, of the mean weight and of the particles' product of means."""
    ratio = (weights - weights.max(0).values).exp()
    error = (ratio.var(0) / ratio.mean(0) ** 2 / len(ratio) + (1 / run.ess).sum(-1)).sqrt()
    assert (error < 0.2).all()
    exact = weights.logsumexp(0) - math.log(len(weights))
    assert ((run.log_evidence - exact).abs() < 5 * error + 1e-6).all()


@AUTOREGRESSIVE
def test_padding_is_not_read_and_not_scored(member: Member) -> None:
    """The same noise is drawn frame by frame: alone, a shorter sequence has the same numbers."""
    model = member.pair()[0]
    whole = paths(model, 1, 6)["s"]
    s, mask = ragged(whole, (3,))
    padded, short = of(model, s, mask, count=50), of(model, whole[:, :3], count=50)
    assert torch.allclose(padded.log_evidence, short.log_evidence)
    assert torch.allclose(padded.mean[:, :3], short.mean) and padded.mean.isfinite().all()
    assert torch.allclose(padded.ess[:, 3:], torch.tensor(50.0).double())  # nobody is weighed


def test_in_parts_and_by_seed(monkeypatch: Any) -> None:
    model, _, s = linear()
    once, again, other = (of(model, s, count=100, seed=seed).log_evidence for seed in (1, 1, 2))
    assert torch.equal(once, again) and not torch.equal(once, other)
    monkeypatch.setattr(sys.modules[particle_filter.__module__], "AT_ONCE", 150)
    rows, first = (of(model, x, count=100, seed=1) for x in (s, s[:1]))
    assert rows.mean.shape == (4, 8, 2) and rows.ess.shape == (4, 8)
    assert torch.equal(rows.log_evidence[:1], first.log_evidence)


def test_particles_go_where_the_weight_is() -> None:
    """Systematic: everyone is drawn as often as its weight says, but for less than one."""
    weight = torch.rand(50, 3).double()
    weight /= weight.sum(0)
    who = _systematic(weight)
    for column in range(3):
        times = who[:, column].bincount(minlength=50)
        assert ((times - 50 * weight[:, column]).abs() < 1 + 1e-9).all()
    moved = _take(who, torch.arange(150.0).reshape(50, 3))
    assert torch.equal(moved % 3, torch.arange(3.0).expand(50, 3))


def test_in_the_mean_particles_are_drawn_as_often_as_their_weight_says() -> None:
    """A count is one of two whole numbers, of variance at most 1/4: four standard errors."""
    weight = torch.tensor([0.05, 0.37, 0.23, 0.35])
    counts = [_systematic(weight[:, None])[:, 0].bincount(minlength=4) for _ in range(2000)]
    mean = torch.stack(counts).float().mean(0)
    assert torch.allclose(mean, 4 * weight, atol=4 * 0.5 / 2000**0.5)


def test_a_model_is_taken_in_evaluation_mode_and_left_as_it_was() -> None:
    model = HiTDVAE(D, L, global_dim=2, dim=8, heads=2, forget=0.9)
    s, state = torch.randn(2, 5, D), torch.get_rng_state()
    found = [of(model.train(mode), s, count=20).log_evidence for mode in (True, False)]
    assert torch.equal(*found) and torch.equal(state, torch.get_rng_state())
    of(model.train(), s, count=20)
    assert model.training


def test_refused() -> None:
    s = torch.zeros(1, 2, D)
    for model in (RVAE(D, L, causal=False), LDS(D)):
        with pytest.raises(InputError, match="model"):
            particle_filter(model, s)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="num_particles"):
        particle_filter(DKF(D, L), s, num_particles=0)
    with pytest.raises(InputError, match="paths, frames"):
        particle_filter(DKF(D, L), s[0])
    with pytest.raises(InputError, match="NaN in sequence 1, frame 0, number 0"):
        particle_filter(DKF(D, L), torch.stack([s[0], s[0] * torch.nan]), num_particles=5)
    broken = DKF(D, L, linear=True)
    torch.nn.init.constant_(broken.emission.bias, torch.nan)
    with pytest.raises(InputError, match="1 of 1 sequences is NaN"):
        particle_filter(broken, s, num_particles=5)
