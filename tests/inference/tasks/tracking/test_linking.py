"""Links and their odds: bounds lose nothing, sight is the hidden chain's, totals are densities."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from inference.tasks.tracking.kalman import Motion
from inference.tasks.tracking.linking import Sight, best_chains, gains, links
from inference.tasks.tracking.tracklets import Clip, Settings, Tracklet, tracklets
from ppl_models.linear_motion import LinearMotion
from tests.inference.tasks.clips import anywhere, clip_of, detected, straight

T = 30


def scene(seed: int, clutter: int = 3) -> tuple[Clip, list[Tracklet], Motion]:
    draw = np.random.default_rng(seed)
    truth = straight([(300, 500), (700, 520), (900, 300)], [(4, 0), (-4, 1), (0, 2)], T)
    truth = truth + draw.normal(size=truth.shape) * [1.6, 4, 0.04, 0.04]
    there = (draw.random((3, T)) > 0.4).astype(float)
    there[:, 10:18] = 0
    clip = clip_of([b + anywhere(clutter, draw) for b in detected(truth, there)], draw)
    motion = Motion(LinearMotion(), T, 1.0)
    return clip, tracklets(clip, motion, Settings()), motion


@pytest.mark.parametrize("seed", range(3))
def test_the_bound_leaves_out_only_hopeless_links(seed: int) -> None:
    """Against all links: hope without end and no bound on their number."""
    clip, runs, motion = scene(seed)
    sight = Sight(runs, T, Settings())
    worth = np.linspace(-20, 40, len(runs))
    everything = Settings(hope=1e9, fan_out=10**9)
    source, target, odds = links(clip, runs, worth, motion, sight, everything)
    first, last = (np.array([run.frames[i] for run in runs]) for i in (0, -1))
    assert len(source) == int((first[None] > last[:, None]).sum())
    for hope in (0.0, 8.0, 30.0):
        few = links(clip, runs, worth, motion, sight, Settings(hope=hope, fan_out=10**9))
        kept = odds > -hope - worth.clip(min=0)[target]
        expected = set(zip(source[kept].tolist(), target[kept].tolist(), strict=True))
        assert set(zip(few[0].tolist(), few[1].tolist(), strict=True)) == expected
        assert 0 < len(expected) < len(source)
        assert np.allclose(np.sort(few[2]), np.sort(odds[kept]))


def test_fan_out_keeps_the_best_of_each_kind() -> None:
    clip, runs, motion = scene(0)
    sight = Sight(runs, T, Settings())
    worth = np.where(np.arange(len(runs)) % 2, 5.0, -5.0)
    all_links = links(clip, runs, worth, motion, sight, Settings(hope=1e9, fan_out=10**9))
    few = links(clip, runs, worth, motion, sight, Settings(hope=1e9, fan_out=2))
    for source in np.unique(all_links[0]):
        for kind in (worth > 0, worth <= 0):
            everything, kept = (
                np.sort(x[2][(x[0] == source) & kind[x[1]]])[::-1] for x in (all_links, few)
            )
            assert np.allclose(kept, everything[:2])


def test_sight_is_a_sum_over_hidden_states() -> None:
    settings, frames = Settings(hide=0.2, show=0.3), 5
    sight = Sight([], frames, settings)
    rate, move = 0.7, np.array([[0.8, 0.2], [0.3, 0.7]])  # rate where no tracklet says better

    def chance(first: np.ndarray, found: list[bool]) -> float:
        """p(detected or not, frame by frame | state before), over all paths of the two states."""
        total = 0.0
        for path in itertools.product((0, 1), repeat=len(found) + 1):
            p = first[path[0]]
            for before, now, here in zip(path[:-1], path[1:], found, strict=True):
                chance_of = rate if now == 0 else 0.0
                p *= move[before, now] * (chance_of if here else 1 - chance_of)
            total += p
        return total

    visible, usual = np.array([1.0, 0.0]), np.array([0.6, 0.4])
    for d in range(frames):
        assert math.isclose(sight.tail[d], math.log(chance(visible, [False] * d)), abs_tol=1e-12)
        gone_then_found = [False] * d + [True]
        assert math.isclose(sight.gap[d + 1], math.log(chance(visible, gone_then_found)))
        assert math.isclose(sight.head[d], math.log(chance(usual, gone_then_found)))


def test_rate_is_that_of_long_tracklets() -> None:
    run = Tracklet(list(range(0, 20, 2)), [0] * 10)  # detected in 10 frames of 19
    sight = Sight([run, Tracklet([3], [0])], 5, Settings(hide=1e-12, show=0.5))
    assert math.isclose(sight.gap[1], math.log(10 / 19), rel_tol=1e-9)


def test_chains_are_disjoint_and_forward_and_the_best_flow() -> None:
    clip, runs, motion = scene(1)
    chains = best_chains(clip, runs, 3, motion, Settings())
    assert len(chains) == 3
    used = [i for chain in chains for i in chain]
    assert len(used) == len(set(used))
    for chain in chains:
        for a, b in itertools.pairwise(chain):
            assert runs[a].frames[-1] < runs[b].frames[0]
    one = best_chains(clip, runs, 1, motion, Settings())
    assert len(one) == 1


def test_an_object_is_worth_more_than_clutter_and_a_lone_detection_less() -> None:
    clip, runs, motion = scene(2)
    sight = Sight(runs, T, Settings())
    begin, *_ = gains(clip, runs, 3, motion, sight, Settings())
    length = np.array([len(run.frames) for run in runs])
    assert (begin[length >= 4] > 0).all() and (begin[length == 1] < 0).all()
    assert (length >= 4).any() and (length == 1).any()


def test_a_chain_s_total_counts_its_ends_once() -> None:
    """Worth of each, odds of each link, missed before the first and after the last."""
    clip, runs, motion = scene(1)
    sight, settings = Sight(runs, T, Settings()), Settings(hope=1e9, fan_out=10**9)
    begin, source, target, link = gains(clip, runs, 3, motion, sight, settings)
    # what a tracklet is worth is what it begins with, less its ends
    first, last = (np.array([run.frames[i] for run in runs]) for i in (0, -1))
    after = np.array([sight.tail[T - 1 - t] for t in last])
    worth = begin - np.array([sight.head[t] for t in first]) - after
    *_, odds = links(clip, runs, worth, motion, sight, settings)
    ends = [sight.head[first[i]] + after[j] for i, j in zip(source, target, strict=True)]
    assert np.allclose(begin[source] + link, worth[source] + worth[target] + odds + ends)


def test_fewer_tracklets_than_objects() -> None:
    truth = straight([(300, 500)], [(1, 0)], T)
    clip = clip_of(detected(truth))
    motion = Motion(LinearMotion(), T, 1.0)
    runs = tracklets(clip, motion, Settings())
    assert best_chains(clip, runs, 3, motion, Settings()) == [[0]]
    assert best_chains(clip, [], 3, motion, Settings()) == []
