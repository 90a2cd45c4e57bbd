from __future__ import annotations

import pytest
import torch
from pyro import poutine

from guides.ica import ICAGuide
from inference import check, fit
from inference.metrics.linear import amari_distance
from inference.schedules import cosine
from ppl_models.errors import InputError
from ppl_models.ica import ICA


def mixed(data_dim: int = 3, size: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """A mixing matrix, and data of Laplace sources mixed by it."""
    truth = torch.randn(data_dim, data_dim) + 0.5 * torch.eye(data_dim)
    z = torch.distributions.Laplace(0.0, 1.0).sample((size, data_dim))
    return truth, z @ truth.T + 1.0


def test_the_density_is_the_change_of_variables() -> None:
    model = ICA(3)
    x = torch.randn(7, 3)
    trace = poutine.trace(model).get_trace(x)
    trace.compute_log_prob()
    z = torch.linalg.solve(model.weight, (x - model.mean).T).T
    expected = -z.abs().sum(-1) - 3 * torch.tensor(2.0).log() - torch.logdet(model.weight).real
    assert torch.allclose(trace.nodes["x"]["log_prob"], expected, atol=1e-5)
    assert torch.allclose(model.sources(x), z, atol=1e-5)


def test_the_density_integrates_to_one() -> None:
    model = ICA(2)
    with torch.no_grad():
        model.turn.copy_(torch.tensor([[1.0, 0.4], [-0.3, 0.7]]))
    axis = torch.linspace(-15, 15, 601)
    grid = torch.cartesian_prod(axis, axis)
    total = model.density().log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** 2
    assert abs(total.item() - 1) < 2e-3  # the grid's own error at the density's kinks


def test_the_pair_passes_check_with_its_empty_guide() -> None:
    model = ICA(3)
    assert check(model, ICAGuide(model), torch.randn(6, 3)).sites


def test_a_known_mixing_is_found_again(untouched: None) -> None:
    with torch.random.fork_rng():
        truth, x = mixed()
        model = ICA(3)
    model.start_from(x)
    assert amari_distance(model.weight, truth) > 0.1  # whitening alone does not find it
    rate = cosine(160, start=0.03)
    run = fit(
        model, ICAGuide(model), x, epochs=10, batch_size=250, learning_rate=rate, progress=False
    )
    assert amari_distance(run.model.weight, truth) < 0.05


def test_a_singular_mixing_is_an_error() -> None:
    model = ICA(2)
    with torch.no_grad():
        model.turn.copy_(torch.tensor([[1.0, 2.0], [2.0, 4.0]]))
    with pytest.raises(InputError, match="can be undone"):
        model(torch.randn(4, 2))


def test_data_without_a_density_are_refused() -> None:
    x = torch.randn(50, 2)
    with pytest.raises(InputError, match="dequantise"):
        ICA(3).start_from(torch.cat([x, torch.ones(50, 1)], 1))
    with pytest.raises(InputError, match="dequantise"):
        ICA(2).start_from(x[:1])


def test_it_starts_with_white_sources_of_the_laplace_s_variance() -> None:
    _, x = mixed(size=60)
    model = ICA(3)
    model.start_from(x)
    z = model.sources(x).double()
    assert torch.allclose(torch.cov(z.T, correction=0), 2 * torch.eye(3).double(), atol=1e-4)
    assert torch.allclose(z.mean(0), torch.zeros(3).double(), atol=1e-4)
