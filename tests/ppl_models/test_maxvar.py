from __future__ import annotations

import pytest
import torch
from scipy.linalg import eigh
from torch import Tensor

from ppl_models.errors import InputError
from ppl_models.maxvar import covariance, halves, maxvar


def sets() -> list[Tensor]:
    shared = torch.randn(300, 2).double()
    parts = [torch.randn(2, width).double() for width in (4, 3, 2)]
    return [shared @ part + torch.randn(300, part.shape[1]).double() for part in parts]


def test_it_is_the_generalised_eigenvalue_problem_of_scipy() -> None:
    x = sets()
    whole, blocks = covariance(torch.cat(x, 1)), torch.block_diag(*map(covariance, x))
    values, vectors = eigh(whole.numpy(), blocks.numpy())
    found = maxvar(x, 3)
    assert torch.allclose(found.strengths, torch.as_tensor(values[::-1][:3].copy()))
    ours = torch.cat(found.weights)
    theirs = torch.as_tensor(vectors[:, ::-1][:, :3].copy())
    assert torch.allclose((ours * theirs).sum(0).abs(), ours.norm(dim=0) * theirs.norm(dim=0))


def test_of_two_sets_it_is_one_and_the_canonical_correlations() -> None:
    x = sets()[:2]
    a, b = (torch.linalg.qr(s - s.mean(0)).Q for s in x)
    assert torch.allclose(maxvar(x, 3).strengths, 1 + torch.linalg.svdvals(a.T @ b))


def test_variates_are_uncorrelated_and_nearest_to_all_sets() -> None:
    x = sets()
    found = maxvar(x, 2)
    assert torch.allclose(covariance(found.variates), torch.eye(2).double(), atol=1e-10)
    # a strength is the sum over sets of the variate's squared multiple correlations
    for g, strength in zip(found.variates.T, found.strengths, strict=True):
        total = 0.0
        for s in x:
            centred = s - s.mean(0)
            fitted = centred @ torch.linalg.lstsq(centred, g[:, None]).solution
            total += float(fitted.square().mean())
        assert total == pytest.approx(float(strength))


def test_what_has_no_solution_is_refused() -> None:
    with pytest.raises(InputError, match="full rank"):
        maxvar([torch.ones(9, 2), torch.randn(9, 2)], 1)
    with pytest.raises(InputError, match="at most"):
        maxvar([torch.randn(9, 2), torch.randn(9, 2)], 5)


def test_a_ridge_is_a_share_of_each_set_s_mean_variance_added_to_its_diagonal() -> None:
    x = sets()
    blocks = [covariance(s) for s in x]
    wider = [c + 0.3 * c.diagonal().mean() * torch.eye(len(c)).double() for c in blocks]
    whole = covariance(torch.cat(x, 1)).numpy()
    values = eigh(whole, torch.block_diag(*wider).numpy(), eigvals_only=True)
    assert torch.allclose(
        maxvar(x, 3, ridge=0.3).strengths, torch.as_tensor(values[::-1][:3].copy())
    )
    root, inverse = halves(x[0], ridge=0.3)
    assert torch.allclose(root @ root, wider[0])
    assert torch.allclose(root @ inverse, torch.eye(4).double(), atol=1e-10)
