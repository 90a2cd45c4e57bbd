"""Moves: what was cut is joined, what was mixed is taken apart, what is right stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.tasks.tracking.whole import proposals
from inference.tasks.tracking.whole.encounters import encounters
from inference.tasks.tracking.whole.errors import ErrorLaw
from inference.tasks.tracking.whole.evidence import Evidence
from inference.tasks.tracking.whole.gains import Cuts, gains
from inference.tasks.tracking.whole.moves import Moves, improve
from inference.tasks.tracking.whole.video import Video
from ppl_models.errors import InputError
from tests.inference.tasks.tracking.whole.made import boxes_of, learned_of, video_of, walk

LENGTH = 80
EAGER = Moves(least=0.0)


def evidence_of(video: Video, chains: list[np.ndarray]) -> Evidence:
    learned = learned_of(np.ones(len(video.rows.frame), bool))
    return Evidence(video, chains, learned, EAGER.evidence, ErrorLaw(), 0.9)


def moved(video: Video, chains: list[np.ndarray], how: Moves = EAGER) -> set[tuple[int, ...]]:
    found = improve(evidence_of(video, chains), chains, how)
    return {tuple(chain.tolist()) for chain in found}


def crossing() -> tuple[Video, list[np.ndarray]]:
    """Two who walk past each other; unseen while they do. Chains are the true ones."""
    frames = [*range(36), *range(44, LENGTH)]
    rows = walk(frames, x=100, speed=(3, 0), noise=1)
    rows += walk(frames, x=340, y=310, speed=(-3, 0), noise=1, seed=1)
    source = np.repeat([0, 1], len(frames))[np.argsort([row[0] for row in rows], kind="stable")]
    boxes = boxes_of(rows)
    order = np.argsort(boxes.frame, kind="stable")
    boxes = replace(boxes, frame=boxes.frame[order], ltwh=boxes.ltwh[order])
    return video_of(boxes, LENGTH), [np.flatnonzero(source == k) for k in (0, 1)]


def as_set(chains: list[np.ndarray]) -> set[tuple[int, ...]]:
    return {tuple(chain.tolist()) for chain in chains}


def one(gap: int) -> tuple[Video, np.ndarray]:
    frames = [*range(30), *range(30 + gap, LENGTH)]
    video = video_of(boxes_of(walk(frames, noise=1)), LENGTH)
    return video, np.arange(len(frames))


@pytest.mark.parametrize("gap", [1, 8, 20])
def test_pieces_of_one_path_are_joined(gap: int) -> None:
    video, whole = one(gap)
    assert moved(video, [whole[:30], whole[30:]]) == as_set([whole])
    assert moved(video, [whole[:10], whole[10:30], whole[30:]]) == as_set([whole])


def test_what_is_right_stays() -> None:
    video, whole = one(8)
    assert moved(video, [whole]) == as_set([whole])
    video, chains = crossing()
    assert moved(video, chains) == as_set(chains)
    assert improve(evidence_of(video, chains), [], EAGER) == []


def test_tails_that_were_swapped_are_swapped_back() -> None:
    video, (a, b) = crossing()
    mixed = [np.concatenate([a[:36], b[36:]]), np.concatenate([b[:36], a[36:]])]
    assert moved(video, mixed) == as_set([a, b])
    assert moved(video, mixed, replace(EAGER, kinds=("swap",))) == as_set([a, b])
    assert moved(video, mixed, replace(EAGER, kinds=("join",))) == as_set(mixed)


def test_one_that_jumps_is_split() -> None:
    rows = walk(range(40), noise=1) + walk(range(40, LENGTH), x=300, y=150, noise=1, seed=1)
    video, whole = video_of(boxes_of(rows), LENGTH), np.arange(LENGTH)
    assert moved(video, [whole]) == as_set([whole[:40], whole[40:]])
    assert moved(video, [whole], replace(EAGER, kinds=("join", "swap"))) == as_set([whole])


def test_a_move_must_gain_enough() -> None:
    video, whole = one(8)
    pieces = [whole[:30], whole[30:]]
    assert moved(video, pieces, Moves(join=1e3)) == as_set(pieces)
    assert moved(video, pieces, replace(EAGER, join=0.0)) == as_set([whole])
    assert moved(video, pieces, Moves(sweeps=0)) == as_set(pieces)
    assert moved(video, pieces, Moves(longest=0.2, join=0.0)) == as_set(pieces)


def test_a_join_and_a_swap_have_their_own_least_gains() -> None:
    video, (a, b) = crossing()
    mixed = [np.concatenate([a[:36], b[36:]]), np.concatenate([b[:36], a[36:]])]
    assert moved(video, mixed, Moves(join=1e3)) == as_set([a, b])
    assert moved(video, mixed, Moves(least=1e3)) == as_set(mixed)


def test_gains_are_differences_of_the_objective() -> None:
    """Chains forget within a second: gains are those of whole chains to a quarter of a nat."""
    video, (a, b) = crossing()
    chains = [a, b]
    cuts = Cuts(*np.array([[0, 36, 1, 36], [0, 36, -1, 0], [1, 40, 0, 40]]).T)
    found = gains(evidence_of(video, chains), chains, cuts)
    for gain, (n, i, m, j) in zip(found, np.stack(cuts, 1), strict=True):
        evidence = evidence_of(video, chains)
        old = [chains[k] for k in (n, m) if k >= 0]
        other = chains[m] if m >= 0 else a[:0]
        new = [
            np.concatenate([chains[n][:i], other[j:]]),
            np.concatenate([other[:j], chains[n][i:]]),
        ]
        before = evidence.total(old)
        evidence.filter(new)
        exact = evidence.total(new) - before
        assert gain == pytest.approx(exact, abs=0.25) or (gain == -np.inf and exact < 0)


def test_the_objective_rises_and_the_same_comes_out_twice() -> None:
    video, (a, b) = crossing()
    pieces = [a[:20], np.concatenate([a[20:36], b[36:]]), b[:36], a[36:]]
    evidence = evidence_of(video, pieces)
    before = evidence.total(pieces)
    found = improve(evidence, pieces, EAGER)
    assert evidence.total(found) > before
    again = improve(evidence_of(video, pieces), pieces, EAGER)
    assert all((x == y).all() for x, y in zip(found, again, strict=True))
    assert sorted(np.concatenate(found)) == sorted(np.concatenate(pieces))


def test_encounters_are_where_two_are_near() -> None:
    video, chains = crossing()
    a, b, frame = encounters(video, chains, np.ones(2, bool))
    assert set(zip(a, b, strict=True)) == {(0, 1)}
    assert frame.min() > 25 and frame.max() < 55 and ((frame > 35) & (frame < 45)).any()
    for fresh, count in ((np.zeros(2, bool), 0), (np.array([False, True]), len(frame))):
        assert len(encounters(video, chains, fresh)[0]) == count
    assert len(encounters(video, chains[:1], np.ones(1, bool))[0]) == 0


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(InputError, match="kinds"):
        Moves(kinds=("join", "leap"))


def test_pairs_are_looked_at_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    video, whole = one(8)
    pieces = [whole[:10], whole[10:20], whole[20:30], whole[30:]]
    found = []
    for together in (100_000, 3):
        monkeypatch.setattr(proposals, "TOGETHER", together)
        evidence = evidence_of(video, pieces)
        cuts = proposals.proposed(evidence, pieces, np.ones(4, bool), ("join",), 5.0)
        found.append(set(zip(*map(np.ndarray.tolist, cuts), strict=True)))
    assert found[0] == found[1] and {(0, 10, 1, 0), (2, 10, 3, 0)} <= found[0]


def test_of_many_encounters_the_nearest_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(t, 100.0 + 3 * k, 300.0) for t in range(20) for k in range(12)]
    video = video_of(boxes_of(rows), 20)
    chains = [np.arange(k, 240, 12) for k in range(12)]
    fresh = np.ones(12, bool)
    assert len(encounters(video, chains, fresh)[0]) > 4 * 50
    monkeypatch.setattr("inference.tasks.tracking.whole.encounters.LEAST_MANY", 11)
    monkeypatch.setattr("inference.tasks.tracking.whole.encounters.MANY", 11)
    a, b, frame = encounters(video, chains, fresh)
    assert (b - a == 1).all() and len(a) == 11 * len(np.unique(frame))
