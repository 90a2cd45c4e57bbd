"""Muon: equal singular values, Adam for the rest, and a run that resumes to the same numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from guides import VAEGuide
from inference import Muon, fit
from inference.training.muon import orthogonalised
from ppl_models import VAE
from ppl_models.errors import InputError


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (1, 5), (5, 1)])
def test_singular_values_come_near_one_and_vectors_stay(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    found = orthogonalised(matrix)
    # five iterations with these coefficients bring them to 0.7 .. 1.2 (Jordan et al. 2024)
    values = torch.linalg.svdvals(found)
    assert ((values > 0.6) & (values < 1.3)).all()
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    turned = u.T @ found @ v.T
    assert torch.allclose(turned, torch.diag(turned.diagonal()), atol=1e-4)


def test_nothing_to_follow_is_no_step():
    assert not orthogonalised(torch.zeros(3, 4)).any()


def test_biases_take_adams_steps():
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(4)) for _ in range(2))
    muon = Muon([ours], lr=0.1, adam_share=0.3, betas=(0.8, 0.9), eps=1e-6)
    adam = torch.optim.Adam([theirs], lr=0.03, betas=(0.8, 0.9), eps=1e-6)
    for _ in range(5):
        grad = torch.randn(4)
        ours.grad, theirs.grad = grad.clone(), grad.clone()
        muon.step()
        adam.step()
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_kernels_are_matrices_and_momentum_is_kept():
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.zeros(3, 2, 4, 4))
    muon = Muon([kernel], lr=0.5, momentum=0.0)
    kernel.grad = torch.randn_like(kernel)
    muon.step()
    assert torch.allclose(kernel.flatten(1), -0.5 * orthogonalised(kernel.grad.flatten(1)))
    other = nn.Parameter(torch.zeros(3, 2, 4, 4))
    slow = Muon([other], lr=0.5, momentum=0.9)
    other.grad = kernel.grad.clone()
    slow.step()
    other.grad = torch.zeros_like(other)
    before = other.detach().clone()
    slow.step()
    assert not torch.equal(other, before)


def test_a_closure_is_called():
    weight = nn.Parameter(torch.eye(2))
    muon = Muon([weight])

    def closure():
        loss = weight.square().sum()
        loss.backward()
        return loss

    assert muon.step(closure).item() == 2.0


def test_a_run_resumes_to_the_same_numbers(tmp_path):
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))

    def run(epochs, folder, resume=False):
        torch.manual_seed(0)
        model = VAE(8, 2)
        guide = VAEGuide(model)
        given = {"learning_rate": 0.01, "optimizer": Muon, "progress": False, "batch_size": 16}
        fit(model, guide, x, epochs=epochs, directory=folder, resume=resume, **given)
        return model.state_dict()

    whole = run(4, tmp_path / "whole")
    run(2, tmp_path / "cut")
    resumed = run(4, tmp_path / "cut", resume=True)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("given", [{"lr": 0.0}, {"adam_share": -1.0}, {"momentum": 1.0}])
def test_settings_out_of_range_are_refused(given):
    with pytest.raises(InputError) as caught:
        Muon([nn.Parameter(torch.zeros(2, 2))], **given)
    name, _, cure = caught.value.cure.partition("=")
    Muon([nn.Parameter(torch.zeros(2, 2))], **{name: float(cure)})
