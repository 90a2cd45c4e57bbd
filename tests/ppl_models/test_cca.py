"""Probabilistic CCA: evidence and posterior against dense Gaussians, and its exact solutions."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from guides.cca import CCAGuide
from inference import fit, fit_em
from ppl_models.cca import CCA
from ppl_models.errors import InputError
from ppl_models.maxvar import centred, covariance, maxvar

WIDTHS = {"sight": 4, "sound": 3, "touch": 2}
PATTERNS = torch.tensor(list(product([True, False], repeat=3)))


def build(widths: dict[str, int] = WIDTHS, latent_dim: int = 2) -> CCA:
    model = CCA(widths, latent_dim).double()
    with torch.no_grad():
        for name, width in widths.items():
            model.means[name].normal_()
            model.roots[name].copy_(0.3 * torch.randn(width, width))
    return model


def drawn(model: CCA, size: int) -> dict[str, Tensor]:
    return {name: x.detach() for name, x in model(size=size).items()}


def dense(model: CCA, names: list[str]) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and covariance of some sets side by side, and their covariance with z."""
    weight = torch.cat([model.weights[n] for n in names]).detach()
    noise = torch.block_diag(*(model.noise_root(n) @ model.noise_root(n).T for n in names)).detach()
    mean = torch.cat([model.means[n] for n in names]).detach()
    return mean, weight @ weight.T + noise, weight


def test_evidence_and_posterior_of_every_pattern_are_those_of_the_joint_gaussian() -> None:
    model = build()
    data = drawn(model, len(PATTERNS))
    padded = {
        n: x.masked_fill(~PATTERNS[:, m, None], torch.nan) for m, (n, x) in enumerate(data.items())
    }
    evidence, posterior = (f(**padded, mask=PATTERNS) for f in (model.evidence, model.posterior))
    for row, pattern in enumerate(PATTERNS):
        names = [n for n, there in zip(WIDTHS, pattern, strict=True) if there]
        expected, mean, covariance = 0.0, torch.zeros(2).double(), torch.eye(2).double()
        if names:
            x = torch.cat([data[n][row] for n in names])
            centre, whole, cross = dense(model, names)
            expected = float(MultivariateNormal(centre, whole).log_prob(x))
            gain = torch.linalg.solve(whole, cross).T
            mean, covariance = gain @ (x - centre), covariance - gain @ cross
        assert float(evidence[row].detach()) == pytest.approx(expected, abs=1e-9)
        assert torch.allclose(posterior.mean[row], mean)
        assert torch.allclose(posterior.covariance_matrix[row], covariance)


def test_data_have_the_moments_of_the_model() -> None:
    model = build()
    x = torch.cat(list(drawn(model, 40_000).values()), 1)
    mean, covariance, _ = dense(model, list(WIDTHS))
    scale = covariance.diagonal().sqrt()
    # five standard errors: of a mean 1 / 200, of a correlation at most sqrt(2) / 200
    assert ((x.mean(0) - mean).abs() < 5 * scale / 200).all()
    assert ((x.T.cov() - covariance).abs() < 5 * 1.5 * torch.outer(scale, scale) / 200).all()


def test_of_two_sets_the_likelihood_is_largest_in_closed_form() -> None:
    data = drawn(build({"sight": 4, "sound": 3}), 400)
    model = CCA({"sight": 4, "sound": 3}, 2).double().fit_exact(**data)
    best = float(model.evidence(**data).detach().sum())
    gradients = torch.autograd.grad(model.evidence(**data).mean(), list(model.parameters()))
    assert max(float(g.abs().max()) for g in gradients) < 1e-4
    # EM from elsewhere climbs to it, and not above
    other = CCA({"sight": 4, "sound": 3}, 2).double()
    climbed = fit_em(other, *data.values(), steps=400, tolerance=1e-9)
    assert best - 0.5 < climbed[-1] < best + 1e-3
    assert all(b > a - 1e-6 for a, b in zip(climbed, climbed[1:], strict=False))


def test_the_shares_are_the_canonical_correlations() -> None:
    data = drawn(build({"sight": 4, "sound": 3}), 500)
    model = CCA({"sight": 4, "sound": 3}, 3).double().fit_exact(**data)
    values = [x - x.mean(0) for x in data.values()]
    q, p = (torch.linalg.qr(x).Q for x in values)
    known = torch.linalg.svdvals(q.T @ p)  # Björck and Golub: cosines between the spans
    found = [
        (model.weights[n].T @ torch.linalg.solve(x.T @ x / 500, model.weights[n])).detach()
        for n, x in zip(data, values, strict=True)
    ]
    for shares in found:
        assert torch.allclose(shares, known.diag(), atol=1e-5)


def test_of_three_sets_em_climbs_from_maxvar_with_rows_that_lack_some() -> None:
    truth = build()
    data = drawn(truth, 600)
    mask = PATTERNS[torch.arange(600) % 4]  # all four that have sight
    padded = {
        n: x.masked_fill(~mask[:, m, None], torch.nan) for m, (n, x) in enumerate(data.items())
    }
    model = CCA(WIDTHS, 2).double().start_from(**padded, mask=mask)
    history = [model.em_step(**padded, mask=mask) for _ in range(60)]
    assert all(b > a - 1e-6 for a, b in zip(history, history[1:], strict=False))
    best = float(truth.evidence(**padded, mask=mask).detach().sum())
    assert history[-1] > best  # of maximum likelihood: above the truth, by half a nat a parameter
    assert history[-1] < best + 40


def test_a_start_needs_two_rows_with_all_sets_and_few_are_enough() -> None:
    data, model = drawn(build(), 5), build()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    mask = torch.zeros(5, 3).bool()
    mask[0], mask[:, 0] = True, True
    model.start_from(**data, mask=mask)
    assert all(torch.equal(value, model.state_dict()[n]) for n, value in before.items())
    mask[1] = True
    model.start_from(**data, mask=mask)
    assert not torch.equal(before["weights.sight"], model.weights["sight"])
    assert model.evidence(**data).isfinite().all()


def test_a_step_of_em_sees_padded_rows_as_rows_that_are_not_there() -> None:
    data = drawn(build(), 50)
    mask = torch.ones(50, 3).bool()
    mask[20:, 1:] = False
    first, second = build(), build()
    second.load_state_dict(first.state_dict())
    first.em_step(**data, mask=mask)
    noisy = {
        n: x.masked_fill(~mask[:, m, None], torch.nan) for m, (n, x) in enumerate(data.items())
    }
    second.em_step(**noisy, mask=mask)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.slow
def test_training_by_gradients_comes_to_the_exact_likelihood() -> None:
    data = drawn(build({"sight": 4, "sound": 3}), 500)
    exact = CCA({"sight": 4, "sound": 3}, 2).double().fit_exact(**data)
    model = CCA({"sight": 4, "sound": 3}, 2).double().start_from(**data)
    guide = CCAGuide(model).double().set_exact()
    fit(model, guide, data, epochs=400, batch_size=500, learning_rate=5e-3, progress=False)
    best = float(exact.evidence(**data).detach().mean())
    assert best - 0.05 < float(model.evidence(**data).detach().mean()) < best + 1e-6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: CCA({}), "none"),
        (lambda: CCA({"z": 2}), "not in use"),
        (lambda: CCA({"sight": 0}), "at least 1"),
        (lambda: CCA(latent_dim=0), "latent_dim"),
        (lambda: build().fit_exact(**drawn(build(), 9)), "start_from"),
        (lambda: CCA({"a": 2, "b": 2}, 1).fit_exact(torch.randn(9, 2)), "complete data"),
        (lambda: CCA({"a": 2, "b": 2}, 1).fit_exact(*[torch.ones(9, 2)] * 2), "full rank"),
        (lambda: CCA({"a": 1, "b": 2}, 2).fit_exact(*wide()), "latent_dim at most"),
    ],
)
def test_what_has_no_solution_is_refused(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def wide() -> tuple[Tensor, Tensor]:
    return torch.randn(9, 1), torch.randn(9, 2)


def test_a_start_gives_the_codes_nine_tenths_of_what_the_shared_variates_explain() -> None:
    """The rest is noise, so that EM has some; together they are the covariance of each set."""
    data = drawn(build(), 400)
    model = CCA(WIDTHS, 2).double().start_from(**data)
    variates = maxvar(list(data.values()), 2, ridge=1e-3).variates
    for name, x in data.items():
        known = centred(x).T @ variates / len(x)
        assert torch.allclose(model.weights[name], 0.9 * known)
        noise = model.noise_root(name) @ model.noise_root(name).T
        whole = model.weights[name] @ model.weights[name].T + noise
        assert torch.allclose(whole, covariance(x), rtol=1e-4, atol=1e-5)  # of the noise's floor
        assert torch.allclose(model.means[name], x.mean(0))
