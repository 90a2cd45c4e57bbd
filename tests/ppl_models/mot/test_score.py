from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Beta, Dirichlet

from inference.randomness import seeded
from ppl_models.errors import InputError
from ppl_models.mot import BinnedScore, BinnedScores


def test_densities_integrate_to_one_and_start_as_their_beta_laws() -> None:
    scores = BinnedScores(10, object_beta=(5.0, 1.0), clutter_beta=(1.0, 1.0)).double()
    middle = (torch.arange(1000).double() + 0.5) / 1000
    for clutter in (False, True):
        density = scores.given(torch.tensor(clutter)).log_prob(middle).exp()
        assert density.mean().item() == pytest.approx(1, abs=1e-6)
    edges = torch.linspace(0, 1, 11).double()
    assert torch.allclose(scores.masses[0], (edges**5).diff(), atol=1e-5)  # cdf of Beta(5, 1)
    assert torch.allclose(scores.masses[1], torch.full((10,), 0.1).double())


def test_a_score_that_is_missing_says_nothing() -> None:
    scores = BinnedScores()
    value = torch.tensor([math.nan, 0.9, 1.0, 1.3, -1.0])
    log_prob = scores.given(torch.tensor([[False], [True]])).log_prob(value)
    assert log_prob.shape == (2, 5) and torch.isfinite(log_prob).all()
    assert (log_prob[:, 0] == 0).all()
    assert torch.equal(log_prob[:, 2], log_prob[:, 3])  # beyond an end: the outer bin
    odds = scores.log_odds(value)
    assert odds[0] == 0 and odds[1] > 0 > odds[4]
    assert torch.allclose(odds, log_prob[0] - log_prob[1])


def test_drawn_scores_have_the_masses() -> None:
    """20,000 draws a row, each bin to 5 standard errors."""
    masses = torch.tensor([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]])
    with seeded(0):
        drawn = BinnedScore(masses.log()).sample((20_000,))
    assert drawn.shape == (20_000, 2) and (drawn >= 0).all() and (drawn < 1).all()
    for row in range(2):
        shares = torch.histc(drawn[:, row], 3, 0, 1) / 20_000
        assert (shares - masses[row]).abs().max() < 5 * math.sqrt(0.25 / 20_000)


def test_the_update_is_the_mode_of_the_posterior() -> None:
    """No masses nearby have a higher expected density of data and prior."""
    with seeded(1):
        score, weight = torch.rand(200), torch.rand(200)
        score[:20] = math.nan
    scores = BinnedScores(4, strength=7.0)

    def objective() -> float:
        each = (scores.given(torch.full((200,), clutter)).log_prob(score) for clutter in (0, 1))
        of_object, of_clutter = each
        data = (weight * of_object + (1 - weight) * of_clutter).sum()
        return (data + scores.log_prior()).item()

    before = objective()
    scores.update(score, weight)
    best, masses = objective(), scores.masses.clone()
    assert best > before
    assert torch.allclose(scores.masses.sum(-1), torch.ones(2))
    with seeded(2):
        for _ in range(50):
            near = masses * (0.05 * torch.randn(2, 4)).exp()
            scores.masses = near / near.sum(-1, keepdim=True)
            assert objective() < best


def test_the_prior_is_a_dirichlet_with_its_mode_at_the_start() -> None:
    scores = BinnedScores(5, strength=3.0)
    expected = Dirichlet(1 + 3.0 * scores.prior).log_prob(scores.prior).sum()
    assert torch.allclose(scores.log_prior(), expected)
    scores.update(torch.tensor([]), torch.tensor([]))
    assert torch.allclose(scores.masses, scores.prior)


def test_scores_of_two_laws_are_learned_from_known_labels() -> None:
    with seeded(3):
        objects, clutter = Beta(6.0, 2.0).sample((4000,)), Beta(2.0, 6.0).sample((4000,))
    scores = BinnedScores(20)
    scores.update(torch.cat([objects, clutter]), torch.arange(8000) < 4000)
    exact = 4 * math.log(0.625 / 0.375)  # in the middle of a bin of some 350 scores: 0.06
    assert scores.log_odds(torch.tensor(0.625)).item() == pytest.approx(exact, abs=0.3)


def test_settings_out_of_range_are_errors() -> None:
    with pytest.raises(InputError, match="num_bins"):
        BinnedScores(0)
    with pytest.raises(InputError, match="strength"):
        BinnedScores(strength=0.0)


def test_it_can_be_expanded() -> None:
    wide = BinnedScores(3).given(torch.tensor([[True]])).expand((5, 2))
    assert wide.sample().shape == (5, 2) and wide.log_prob(torch.rand(5, 2)).shape == (5, 2)
