"""Exclusive and independent assignment where people cross."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.crossing_scenes import CLUTTER, DETECTION, LENGTH, Scenes, simulate
from benchmarks.crossings import (
    FORMS,
    assign,
    crossing,
    evidence,
    exact,
    follow,
    log_odds,
    measure,
    worst,
)

SCENES = simulate(3, 2, seed=1)


def test_scenes_are_what_they_say() -> None:
    """A person is detected in at most 90 % of frames, in fewer when covered; 5 standard errors."""
    scenes = simulate(10, 2)
    own = (scenes.source[..., None] == torch.arange(2)).sum(2)
    assert own.max() == 1 and crossing(scenes).any(1).all()
    bare = own[~crossing(scenes)].double()
    assert DETECTION - 0.05 < bare.mean() < DETECTION + 5 * (0.09 / bare.numel()) ** 0.5
    assert own[crossing(scenes)].double().mean() < bare.mean() - 0.1
    clutter = (scenes.source == 2).sum(-1).double().mean()
    assert abs(clutter - CLUTTER) < 5 * (CLUTTER / (10 * LENGTH)) ** 0.5
    again = simulate(2, 2)
    assert torch.equal(again.paths, scenes.paths[:2])


def test_twice_as_many_boxes_are_of_the_same_person() -> None:
    own = (simulate(3, 2, 0.3).source[..., None] == torch.arange(2)).sum(2)
    assert own.max() == 2


def test_assignments_are_distributions_and_exclusive_ones_give_a_person_one() -> None:
    odds = log_odds(SCENES, SCENES.paths, torch.zeros_like(SCENES.paths))
    for form in FORMS:
        owner = assign(odds, form)
        assert (owner.sum(2) <= 1 + 1e-6).all()
        assert (owner.sum(3).max() < 1 + 1e-6) == (form != "independent")


def test_the_evidence_is_a_density_of_what_one_frame_may_hold() -> None:
    """With one person and one detection both are sums of two terms, written down here."""
    odds = torch.tensor([[[2.0]]]).double()
    missed = torch.tensor([[1 - DETECTION]]).double().log()
    marginals, total = exact(odds, missed)
    weight = odds.exp() + (1 - DETECTION)
    assert torch.allclose(total, weight.log()[..., 0])
    assert torch.allclose(marginals, odds.exp() / weight)
    lonely = Scenes(SCENES.paths[:, :, :1], SCENES.o, torch.full_like(SCENES.source, -1))
    independent, exclusive = evidence(lonely)  # no detection at all
    assert torch.allclose(independent, -torch.full_like(independent, DETECTION))
    assert torch.allclose(exclusive, torch.full_like(exclusive, 1 - DETECTION).log())


def test_a_crossing_is_followed_by_both_and_exclusive_has_no_doubles() -> None:
    found: dict[str, Tensor] = {}
    for form in FORMS:
        owner, paths = follow(SCENES, form)
        scored = measure(SCENES, owner, paths)
        assert (paths.ss > 0).all() and scored.right.mean() > 0.8
        found[form] = scored.doubled
    assert found["exclusive, BP"].sum() == 0 == found["exclusive, all matchings"].sum()
    assert worst(SCENES, paths).max() < 0.35  # as in the tests of belief propagation
