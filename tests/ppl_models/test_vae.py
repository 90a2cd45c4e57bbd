from __future__ import annotations

import math
from typing import Literal

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch import nn

from guides.vae import VAEGuide
from inference import check, fit
from inference.errors import NonFiniteError
from ppl_models.errors import InputError
from ppl_models.likelihoods.basic import Gaussian
from ppl_models.likelihoods.discrete import Categorical
from ppl_models.vae import VAE


def linear_pair(scale: float = 0.5) -> tuple[VAE, VAEGuide]:
    """Probabilistic PCA (Tipping and Bishop 1999, equations 2-6); the guide is its posterior."""
    weight = torch.linalg.qr(torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])).Q
    weight = weight * torch.tensor([1.5, 0.7])  # orthogonal columns: the posterior is diagonal
    bias = torch.tensor([0.3, -0.2, 1.0])
    decoder, encoder = nn.Linear(2, 3), nn.Linear(3, 4)
    precision = weight.T @ weight + scale**2 * torch.eye(2)  # M
    gain = torch.linalg.solve(precision, weight.T)  # posterior mean is gain (x - bias)
    spread = scale * precision.diagonal().rsqrt()
    with torch.no_grad():
        decoder.weight.copy_(weight)
        decoder.bias.copy_(bias)
        encoder.weight.copy_(torch.cat([gain, torch.zeros(2, 3)]))
        encoder.bias.copy_(torch.cat([-gain @ bias, spread.log()]))
    model = VAE(3, 2, scale=scale, decoder=decoder)
    return model, VAEGuide(model, encoder=encoder)


def evidence(model: VAE, x: torch.Tensor) -> torch.Tensor:
    """Exact log p(x) of the linear model: Normal(bias, W W' + scale^2 I)."""
    weight, bias = model.decoder.weight, model.decoder.bias
    covariance = weight @ weight.T + model.likelihood.scale**2 * torch.eye(3)
    return torch.distributions.MultivariateNormal(bias, covariance).log_prob(x)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_sites_and_shapes(likelihood: str) -> None:
    model = VAE(5, 2, likelihood=likelihood)
    trace = poutine.trace(model).get_trace(size=7)
    assert trace.nodes["z"]["value"].shape == (7, 2)
    assert trace.nodes["x"]["value"].shape == (7, 5)
    trace.compute_log_prob()
    assert trace.nodes["z"]["log_prob"].shape == trace.nodes["x"]["log_prob"].shape == (7,)
    assert trace.nodes["z"]["cond_indep_stack"][0].name == "data"


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_the_pair_passes_check(likelihood: str) -> None:
    x = (torch.rand(6, 5) < 0.5).float()
    model = VAE(5, 2, hidden_dims=(8,), likelihood=likelihood)
    report = check(model, VAEGuide(model), x)
    assert {row.name for row in report.sites} >= {"z", "x"}


def test_bound_equals_exact_evidence_where_the_guide_is_exact() -> None:
    model, guide = linear_pair()
    x = model(size=50).detach()
    for _ in range(3):  # every single draw: p(x, z) / q(z | x) is p(x), whatever z
        bound = -Trace_ELBO().differentiable_loss(model, guide, x)
        assert torch.isclose(bound, evidence(model, x).sum(), rtol=1e-4)


def test_bound_lies_below_exact_evidence_where_it_is_not() -> None:
    model, guide = linear_pair()
    x = model(size=200).detach()
    with torch.no_grad():
        guide.encoder.bias[:2] += 0.5
    draws = torch.tensor([-Trace_ELBO().loss(model, guide, x) for _ in range(100)]) / len(x)
    # KL(q || p) of a shift d is d' C^-1 d / 2, with the posterior's diagonal covariance C
    kl = (0.5**2 / (2 * guide.encoder.bias[2:].exp() ** 2)).sum().item()
    error = draws.std().item() / math.sqrt(len(draws))
    assert abs(evidence(model, x).mean().item() - kl - draws.mean().item()) < 4 * error
    assert draws.mean() + 4 * error < evidence(model, x).mean()


def test_fit_recovers_the_data_it_simulated() -> None:
    truth, _ = linear_pair()
    x = truth(size=600).detach()
    model = VAE(3, 2, decoder=nn.Linear(2, 3))
    guide = VAEGuide(model, encoder=nn.Linear(3, 4))
    fit(model, guide, x, epochs=60, batch_size=100, learning_rate=5e-2, progress=False)
    # The maximum-likelihood fit is about (parameters / 2N) = 12 / 1200 nats better than the truth;
    # 0.05 nats is what training may leave.
    gap = (evidence(truth, x) - evidence(model, x)).mean().item()
    assert -0.03 < gap < 0.05
    assert model.likelihood.scale.item() == pytest.approx(0.5, abs=0.08)


def test_bernoulli_bound_agrees_with_brute_force() -> None:
    """One latent number: log p(x) by quadrature, against the bound plus the importance gap."""
    torch.manual_seed(1)
    model = VAE(4, 1, hidden_dims=(4,), likelihood="bernoulli")
    guide = VAEGuide(model)
    x = model(size=3).detach()
    grid = torch.linspace(-8, 8, 4001)
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(grid)
    joint = model.observation(grid[:, None, None]).log_prob(x) + prior[:, None]
    exact = (joint.logsumexp(0) + math.log(16 / 4000)).sum()
    with pyro.plate("draws", 4000, dim=-2), torch.no_grad():
        q = poutine.trace(guide).get_trace(x.expand(4000, 3, 4)[0])
        p = poutine.trace(poutine.replay(model, q)).get_trace(x)
    p.compute_log_prob()
    q.compute_log_prob()
    weights = sum(p.nodes[s]["log_prob"] for s in "xz") - q.nodes["z"]["log_prob"]  # (S, N)
    error = weights.exp().std(0) / weights.exp().mean(0) / math.sqrt(4000)
    iwae = (weights.logsumexp(0) - math.log(4000)).sum()
    assert abs(iwae - exact) < 4 * error.square().sum().sqrt() + 1e-4
    assert weights.mean(0).sum() < exact


def test_a_second_call_sees_nothing_of_the_first() -> None:
    model, x = VAE(5, 2), torch.zeros(4, 5)
    traces = []
    for _ in range(2):
        torch.manual_seed(3)
        traces.append(poutine.trace(model).get_trace(x).log_prob_sum())
    assert torch.equal(*traces)


def test_a_fixed_scale_is_kept_and_no_parameter() -> None:
    model = VAE(5, 2, scale=0.25)
    assert "likelihood.log_scale" in model.state_dict()
    assert "likelihood.log_scale" not in dict(model.named_parameters())
    assert model.likelihood.scale.item() == pytest.approx(0.25)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_a_bad_scale_is_named(scale: float) -> None:
    with pytest.raises(InputError, match="scale"):
        VAE(scale=scale)


def test_an_unknown_likelihood_is_named() -> None:
    with pytest.raises(InputError, match="poisson"):
        VAE(likelihood="poisson")


def test_data_of_another_size_are_named() -> None:
    with pytest.raises(InputError, match=r"\(4, 6\)"):
        VAE(5, 2)(torch.zeros(4, 6))


@pytest.mark.parametrize("value", [0.5, -1.0, 2.0, math.nan])
def test_what_is_no_bit_is_named(value: float) -> None:
    x = torch.zeros(4, 5)
    x[2, 3] = value
    with pytest.raises(InputError, match="bits"):
        VAE(5, 2, likelihood="bernoulli")(x)


@pytest.mark.parametrize("scale", ["shared", "pixel", "decoded"])
def test_a_constant_pixel_leaves_the_bound_finite(scale: Literal["shared", "pixel"]) -> None:
    """Its scale goes to the floor, where one such pixel is worth -log(floor) - 0.9 nats."""
    x = torch.randn(64, 3)
    x[:, 0] = 3.0
    part = Gaussian(3, scale, floor=0.05)
    model = VAE(3, 1, hidden_dims=(8,), likelihood=part)
    guide = VAEGuide(model, hidden_dims=(128,))
    run = fit(model, guide, x, epochs=60, batch_size=64, learning_rate=0.1, progress=False)
    bounds = [row["bound"] for row in run.history]
    assert all(math.isfinite(bound) for bound in bounds)
    assert bounds[-1] < 3 * (-math.log(0.05) - 0.9)


def test_an_infinite_decoded_scale_is_named_by_fit() -> None:
    decoder = nn.Linear(1, 4)
    with torch.no_grad():
        decoder.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 200.0]))
    model = VAE(2, 1, likelihood=Gaussian(2, "decoded"), decoder=decoder)
    with pytest.raises(NonFiniteError, match="x"):
        fit(model, VAEGuide(model), torch.zeros(4, 2), epochs=1, progress=False)


def test_a_decoder_of_the_wrong_size_is_named() -> None:
    model = VAE(3, 1, likelihood=Categorical(3, 4), decoder=nn.Linear(1, 3))
    with pytest.raises(InputError, match="expected: 12, which Categorical reads"):
        model()


def test_the_guide_reads_classes_as_the_likelihood_says() -> None:
    part = Categorical(3, 4)
    model = VAE(3, 2, likelihood=part)
    guide = VAEGuide(model)
    assert guide.encoder[0].in_features == 12 and not list(part.parameters())
    x = torch.randint(0, 4, (5, 3))
    assert check(model, guide, x).sites
    assert not any("log_scale" in name for name in VAEGuide(VAE(3, 2)).state_dict())
