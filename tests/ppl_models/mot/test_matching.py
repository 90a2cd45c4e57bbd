from __future__ import annotations

import math

import pytest
import torch

from inference.randomness import seeded
from ppl_models.errors import InputError
from ppl_models.mot import Exclusive, Independent, matchings

SEEN = torch.tensor([1.0, 0.0, 1.0]).double()


def test_all_matchings_are_listed_once() -> None:
    rows = matchings(3, 2)
    assert len(rows) == 1 + 3 * 2 + 3 * 2 == len(rows.unique(dim=0))
    for row in rows:
        objects = row[row < 3].tolist()
        assert len(set(objects)) == len(objects)
    assert matchings(0, 2).tolist() == [[0, 0]] and matchings(2, 0).shape == (1, 0)


def test_too_many_matchings_are_an_error() -> None:
    with pytest.raises(InputError, match="matchings of 9 objects and 9 detections"):
        matchings(9, 9)


def test_counts_of_the_exclusive_law_sum_to_one_and_have_its_moments() -> None:
    """S = 2 of 3 objects, p = 0.7, clutter 0.9; counts up to 40."""
    law = Exclusive(0.7, 0.9).count(SEEN)
    count = torch.arange(40).double()
    p = law.log_prob(count).exp()
    assert p.sum().item() == pytest.approx(1)
    mean = (p * count).sum().item()
    assert mean == pytest.approx(2 * 0.7 + 0.9)
    assert (p * count**2).sum().item() - mean**2 == pytest.approx(2 * 0.7 * 0.3 + 0.9)
    with seeded(0):
        drawn = law.sample((20_000,))
    shares = torch.stack([(drawn == k).double().mean() for k in range(8)])
    assert (shares - p[:8]).abs().max() < 5 * math.sqrt(0.25 / 20_000)


def test_the_exclusive_law_is_the_sum_over_who_is_detected() -> None:
    """p(K) p(matching | K), from objects detected, clutter, and a random order of the list."""
    law, p, rate = Exclusive(0.7, 0.9), 0.7, 0.9
    mask = torch.tensor([True, False, True])
    probs = law.assignment(SEEN, mask).probs
    p_count = law.count(SEEN).log_prob(torch.tensor(2.0).double()).exp()
    for row, prob in zip(matchings(3, 3).tolist(), probs.tolist(), strict=True):
        owners = [n for n in row if n < 3]
        possible = 1 not in owners and row[1] == 3
        m = len(owners)
        poisson = math.exp(-rate) * rate ** (2 - m) / math.factorial(2 - m) if m <= 2 else 0
        places = math.factorial(2) / math.factorial(2 - m) if m <= 2 else 1
        expected = p**m * (1 - p) ** (2 - m) * poisson / places if possible else 0.0
        assert prob * p_count.item() == pytest.approx(expected, abs=1e-12)


def test_the_independent_law_shares_by_rates() -> None:
    law = Independent(0.8, 0.4)
    assert law.count(SEEN).rate.item() == pytest.approx(2.0)
    expected = torch.tensor([0.4, 0.0, 0.4, 0.2]).double()
    assert torch.allclose(law.assignment(SEEN).probs, expected)
    only = Independent(0.0, 0.4).assignment(SEEN).probs
    assert torch.allclose(only, torch.tensor([0.0, 0, 0, 1]).double())


def test_objects_that_are_never_detected_leave_clutter_alone() -> None:
    law = Exclusive(0.0, 0.9)
    probs = law.assignment(SEEN, torch.ones(2, dtype=torch.bool)).probs
    assert probs[0].item() == pytest.approx(1)
    count = torch.tensor(3.0).double()
    poisson = -0.9 + 3 * math.log(0.9) - math.log(6)
    assert law.count(SEEN).log_prob(count).item() == pytest.approx(poisson)
    assert law.count(SEEN).expand((5,)).log_prob(count).shape == (5,)
