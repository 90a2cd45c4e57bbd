"""Draws of a smoother against its dense Gaussian; densities of paths against the model's own."""

from __future__ import annotations

import pyro
import pytest
import torch
from pyro import poutine

from guides.dvae.motion_draws import carried, log_density, path_deviations
from ppl_models.dvae.deepar import DeepAR
from ppl_models.dvae.motion import Motion
from tests.guides.dvae.test_motion_smoother import dense_prior, scene


@pytest.mark.parametrize("inertia", [False, True])
@torch.no_grad()
def test_draws_have_the_joint_covariance_of_the_posterior(inertia: bool) -> None:
    """40,000 draws: each covariance to 5 standard errors, sqrt((v_i v_j + c_ij^2) / R)."""
    motion, evidence, raw = scene(6, inertia)
    size = 40_000
    draw = torch.Generator().manual_seed(0)
    white = torch.randn(2, size, 3, 6, 2, dtype=torch.float64, generator=draw)
    x = path_deviations(motion, evidence.precision, raw, white)
    assert x.shape == (size, 3, 6, 2)
    mean, scale = raw[..., :2], (0.5 * raw[..., 2:]).exp()
    for b in range(3):
        for d in range(2):
            prior = dense_prior(motion, mean[b, :, d], scale[b, :, d])
            exact = torch.linalg.inv(
                prior.precision_matrix + torch.diag(evidence.precision[b, :, d])
            )
            one = x[:, b, :, d]
            spread = exact.diagonal()
            assert (one.mean(0).abs() < 5 * (spread / size).sqrt()).all()
            error = ((spread[:, None] * spread + exact**2) / size).sqrt()
            assert ((one.T @ one / size - exact).abs() < 5 * error).all()


def test_draws_of_one_path_and_of_a_batch_are_the_same() -> None:
    motion, evidence, raw = scene(5, True)
    white = torch.randn(2, 7, 3, 5, 2, dtype=torch.float64)
    with torch.no_grad():
        whole = path_deviations(motion, evidence.precision, raw, white)
        alone = path_deviations(motion, evidence.precision[1], raw[1], white[:, :, 1])
    assert torch.allclose(whole[:, 1], alone)


@pytest.mark.parametrize("inertia", [False, True])
@pytest.mark.parametrize("length", [1, 2, 7])
@torch.no_grad()
def test_the_density_of_a_path_is_the_dense_one(length: int, inertia: bool) -> None:
    motion, _, raw = scene(length, inertia)
    s = torch.randn(3, length, 2, dtype=torch.float64)
    mean, scale = raw[..., :2], (0.5 * raw[..., 2:]).exp()
    total = log_density(motion, raw, s).sum(-1)
    for b in range(3):
        exact = sum(
            dense_prior(motion, mean[b, :, d], scale[b, :, d]).log_prob(s[b, :, d])
            for d in range(2)
        )
        assert torch.allclose(total[b], torch.as_tensor(exact))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"increments": True, "floor": 0.3},
        {"increments": True, "inertia": True, "unit": 0.4},
    ],
)
@torch.no_grad()
def test_the_density_of_a_path_is_the_one_of_the_model(options: dict) -> None:
    motion = Motion(**options)
    model = DeepAR(likelihood=motion).double()
    s = torch.randn(3, 8, 4, dtype=torch.float64)
    with pyro.plate("paths", 3):
        trace = poutine.trace(model.path).get_trace(8, s)
    trace.compute_log_prob()
    past = model.teacher_forced_past(s, s.new_zeros(3, 8, 0))
    raw = model.emission(model.read(past))
    assert torch.allclose(log_density(motion, raw, s).sum(-1), trace.nodes["s"]["log_prob"])


def test_what_is_carried_on_is_what_the_model_reads() -> None:
    motion = Motion(2, increments=True, inertia=True, unit=0.3).double()
    assert motion.inertia is not None
    s = torch.randn(4, 9, 2, dtype=torch.float64)
    moves = torch.cat([torch.zeros_like(s[:, :1]), s.diff(dim=1)], 1)
    before = torch.cat([torch.zeros_like(s[:, :1]), moves[:, :-1]], 1)
    assert torch.allclose(carried(motion, s), motion.inertia(before))


def test_certain_evidence_leaves_no_doubt() -> None:
    motion, evidence, raw = scene(5, True)
    white = torch.randn(2, 50, 3, 5, 2, dtype=torch.float64)
    with torch.no_grad():
        x = path_deviations(motion, 0 * evidence.precision + 1e10, raw, white)
    assert x.abs().max() < 1e-4  # ten standard deviations of 1e-5
