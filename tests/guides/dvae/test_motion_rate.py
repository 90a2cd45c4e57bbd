"""True rates against Pyro's densities of dense draws; frames that do not exist; the plug-in gap."""

from __future__ import annotations

from typing import Any

import pyro
import pytest
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import Independent, MultivariateNormal, Normal

from guides.dvae import DeepARGuide, Evidence, SRNNGuide, White
from ppl_models.dvae import SRNN, DeepAR, Motion
from tests.guides.dvae.test_motion_smoother import dense_prior

LENGTH = 7
Pair = tuple[Any, Any]


def pair(kind: str, *, smooth: bool = True, causal: bool = True) -> Pair:
    """Networks that matter: weights three times as large as those of a start."""
    torch.manual_seed(1)
    motion = Motion(2, increments=True, inertia=True, unit=0.3)
    if kind == "deepar":
        model: Any = DeepAR(2, likelihood=motion)
        guide: Any = DeepARGuide(model, smooth=smooth)
    else:
        model = SRNN(2, 3, likelihood=motion)
        guide = SRNNGuide(model, smooth=smooth, causal=causal)
    with torch.no_grad():
        for name, parameter in [*model.named_parameters(), *guide.named_parameters()]:
            if "logit" not in name and "unit" not in name:
                parameter.mul_(3)
    return model.double(), guide.double()


def evidence_of(length: int = LENGTH) -> tuple[Evidence, Tensor]:
    draw = torch.Generator().manual_seed(2)
    precision = 5 * torch.rand(2, length, 2, dtype=torch.float64, generator=draw)
    precision[:, 2::3] = 0.0
    o = torch.randn(2, length, 2, dtype=torch.float64, generator=draw).cumsum(1)
    return Evidence(precision, precision * o), o


def white_of(size: int, length: int = LENGTH, latent_dim: int = 0, seed: int = 0) -> White:
    draw = torch.Generator().manual_seed(seed)
    path = torch.randn(2, size, 2, length, 2, dtype=torch.float64, generator=draw)
    latent = torch.randn(size, 2, length, latent_dim, dtype=torch.float64, generator=draw)
    return White(path, latent)


def dense_posterior(model: Any, raw: Tensor, evidence: Evidence) -> list[list[MultivariateNormal]]:
    """q(s) of each path and dim, from the plug-in prior as a matrix."""
    found, motion = [], model.likelihood
    for b in range(2):
        row = []
        for d in range(2):
            prior = dense_prior(motion, raw[b, :, d], (0.5 * raw[b, :, 2 + d]).exp())
            covariance = torch.linalg.inv(
                prior.precision_matrix + torch.diag(evidence.precision[b, :, d])
            )
            natural = prior.precision_matrix @ prior.mean + evidence.weighted[b, :, d]
            row.append(MultivariateNormal(covariance @ natural, covariance))
        found.append(row)
    return found


def model_density(model: Any, guide: Any, s: Tensor) -> Tensor:
    """log p(s, z) - log q(z | s), z ~ q, by Pyro's traces: (R, 2)."""
    with pyro.plate("draws", len(s), dim=-2), pyro.plate("paths", s.shape[1], dim=-1):
        guided = poutine.trace(guide.path).get_trace(s)
        scored = poutine.trace(poutine.replay(model.path, guided)).get_trace(s.shape[-2], s)
    guided.compute_log_prob()
    scored.compute_log_prob()
    total = scored.nodes["s"]["log_prob"]
    if "z" in scored.nodes:
        total = total + scored.nodes["z"]["log_prob"] - guided.nodes["z"]["log_prob"]
    return total


def outputs_at(model: Any, guide: Any, path: Tensor) -> Tensor:
    """The emission's outputs where networks read ``path`` and z is the encoder's mean path."""
    with pyro.plate("paths", 2):
        z = guide.path(path, noise=0.0) if model.latent_dim else path.new_zeros(2, LENGTH, 0)
    past = model.teacher_forced_past(path, z)
    return model.frame(model.read(past), z, past)


def apart(a: Tensor, b: Tensor) -> Tensor:
    """Difference of two means of rows, in standard errors."""
    error = (a.var(0) / len(a) + b.var(0) / len(b)).sqrt()
    return ((a.mean(0) - b.mean(0)) / error).abs()


@pytest.mark.parametrize("kind", ["deepar", "srnn"])
@torch.no_grad()
def test_a_smoothers_rate_is_that_of_dense_draws_and_pyros_densities(kind: str) -> None:
    """To 4 standard errors, of 4,000 pairs and 20,000 draws; the plug-in rate is far from it."""
    model, guide = pair(kind)
    evidence, previous = evidence_of()
    noise = torch.zeros(2, LENGTH, 3, dtype=torch.float64)
    draws = guide.rate_draws(evidence, previous, white_of(4_000, latent_dim=3), noise)
    q = dense_posterior(model, outputs_at(model, guide, previous), evidence)
    torch.manual_seed(3)
    s = torch.stack([torch.stack([x.sample((20_000,)) for x in row], -1) for row in q], 1)
    log_q = torch.stack(
        [sum(x.log_prob(s[:, b, :, d]) for d, x in enumerate(row)) for b, row in enumerate(q)], -1
    )
    exact = log_q - model_density(model, guide, s)
    assert (apart(draws, exact) < 4).all()
    plugged = guide.source_posterior(evidence, previous, noise).rate
    assert ((draws.mean(0) - plugged) > 10 * draws.std(0) / 4_000**0.5).all()


@pytest.mark.parametrize("kind", ["deepar", "srnn"])
@torch.no_grad()
def test_a_filters_rate_is_that_of_frames_apart(kind: str) -> None:
    model, guide = pair(kind, smooth=False)
    evidence, previous = evidence_of()
    noise = torch.zeros(2, LENGTH, 3, dtype=torch.float64)
    draws = guide.rate_draws(evidence, previous, white_of(4_000, latent_dim=3), noise)
    posterior = guide.source_posterior(evidence, previous, noise)
    q = Independent(Normal(posterior.mean, posterior.variance.sqrt()), 2)
    torch.manual_seed(3)
    s = q.sample((20_000,))
    assert (apart(draws, q.log_prob(s) - model_density(model, guide, s)) < 4).all()


@torch.no_grad()
def test_where_networks_read_nothing_the_plug_in_rate_is_the_true_one() -> None:
    """A reader of weights 0: each pair of draws then gives the exact KL, to rounding."""
    model, guide = pair("deepar")
    for parameter in model.reader.parameters():
        parameter.zero_()
    evidence, previous = evidence_of()
    draws = guide.rate_draws(evidence, previous, white_of(5))
    exact = guide.source_posterior(evidence, previous).rate
    assert torch.allclose(draws, exact.expand(5, 2), rtol=1e-9)


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize(("kind", "causal"), [("deepar", True), ("srnn", True), ("srnn", False)])
@torch.no_grad()
def test_frames_that_do_not_exist_change_nothing(kind: str, causal: bool, smooth: bool) -> None:
    """Both rates of a path of 7 frames are those of the same path with 5 frames of padding."""
    _, guide = pair(kind, smooth=smooth, causal=causal)
    evidence, previous = evidence_of()
    white, noise = white_of(3, LENGTH + 5, 3), torch.randn(2, LENGTH + 5, 3).double()

    def padded(x: Tensor, value: float) -> Tensor:
        return torch.cat([x, torch.full((2, 5, 2), value, dtype=x.dtype)], 1)

    long = Evidence(*(padded(x, 0.0) for x in evidence)), padded(previous, 9.0)
    mask = (torch.arange(LENGTH + 5) < LENGTH).expand(2, -1)
    cut = White(white.path[..., :LENGTH, :], white.latent[..., :LENGTH, :])
    short = (evidence, previous)
    rates = [
        guide.source_posterior(*short, noise[:, :LENGTH]).rate,
        guide.source_posterior(*long, noise, mask).rate,
    ]
    assert torch.allclose(*rates)
    draws = [
        guide.rate_draws(*short, cut, noise[:, :LENGTH]),
        guide.rate_draws(*long, white, noise, mask),
    ]
    assert torch.allclose(*draws)


@torch.no_grad()
def test_pairs_are_read_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    _, guide = pair("srnn")
    evidence, previous = evidence_of()
    noise, white = torch.zeros(2, LENGTH, 3, dtype=torch.float64), white_of(9, latent_dim=3)
    whole = guide.rate_draws(evidence, previous, white, noise)
    monkeypatch.setattr("guides.dvae.motion_rate.LARGEST_PART", 60)
    assert torch.allclose(guide.rate_draws(evidence, previous, white, noise), whole)
