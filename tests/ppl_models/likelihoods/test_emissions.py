"""What states emit: fitted to the numbers that were seen, and clustered by them."""

from __future__ import annotations

import pytest
import torch

from ppl_models.errors import InputError
from ppl_models.likelihoods import Categorical, Gaussian, Laplace, cluster, fit_emission

B, T, D, K = 2, 30, 2, 2


def test_clusters_are_of_what_was_seen_and_empty_frames_are_no_centres() -> None:
    """Two groups far apart; frames not seen hold what would be a third one."""
    group = torch.arange(T) % 2
    s = (10.0 * group[:, None]).expand(B, T, D) + 0.1 * torch.randn(B, T, D)
    seen = torch.ones(B, T, D).bool()
    seen[:, ::5] = False
    hidden = torch.where(seen, s, torch.tensor(1000.0))
    found = cluster(Gaussian(D, "decoded"), hidden, seen, K, seed=0).argmax(-1)
    kept = seen.any(-1)
    same = found[kept] == group.expand(B, T)[kept]
    assert bool(same.all()) or not bool(same.any())


def test_shares_of_classes_are_those_of_the_numbers_seen() -> None:
    part = Categorical(D, 3)
    s = torch.randint(3, (B, T, D), generator=torch.Generator().manual_seed(0)).float()
    seen = torch.rand(B, T, D, generator=torch.Generator().manual_seed(1)) < 0.5
    weight = torch.rand(B, T, K, generator=torch.Generator().manual_seed(2))
    raw = fit_emission(part, s, weight, seen, torch.zeros(K, part.raw_dim))
    probs = part(raw).base_dist.probs
    for k in range(K):
        for d in range(D):
            w, x = weight[..., k][seen[..., d]], s[..., d][seen[..., d]]
            share = torch.stack([w[x == c].sum() for c in range(3)]) / w.sum()
            assert torch.allclose(probs[k, d], share, atol=1e-5)


def test_a_state_without_weight_keeps_what_it_emits() -> None:
    part, old = Gaussian(D, "decoded"), torch.randn(K, 2 * D)
    weight = torch.zeros(B, T, K)
    weight[..., 0] = 1
    seen = torch.ones(B, T, D).bool()
    raw = fit_emission(part, torch.randn(B, T, D), weight, seen, old)
    assert torch.equal(raw[1], old[1]) and not torch.equal(raw[0], old[0])
    with pytest.raises(InputError, match="by gradient"):
        fit_emission(Laplace(D), torch.randn(B, T, D), weight, seen, torch.zeros(K, D))
