"""The objective: a sum over chains, and lower where a detection is given to somebody else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.tasks.tracking.whole.errors import ErrorLaw
from inference.tasks.tracking.whole.evidence import Evidence, EvidenceLaw
from inference.tasks.tracking.whole.video import Video
from tests.inference.tasks.tracking.whole.made import boxes_of, learned_of, video_of, walk

LENGTH = 60


def evidence_of(video: Video, chains: list[np.ndarray], good: bool = True) -> Evidence:
    learned = learned_of(np.full(len(video.rows.frame), good))
    return Evidence(video, chains, learned, EvidenceLaw(), ErrorLaw(), 0.9)


def two(apart: float = 60.0) -> tuple[Video, list[np.ndarray]]:
    """Two who walk side by side, one lower in the image; the second is away for ten frames."""
    rows = walk(range(LENGTH), noise=1)
    rows += walk([*range(20), *range(30, LENGTH)], y=300 + apart, noise=1, seed=1)
    video = video_of(boxes_of(rows), LENGTH)
    upper = video.rows.o[:, 1] < 300 + apart / 2
    return video, [np.flatnonzero(upper), np.flatnonzero(~upper)]


def test_it_is_a_sum_over_chains_each_by_itself() -> None:
    video, chains = two()
    evidence = evidence_of(video, chains)
    parts = evidence.of_chains(chains)
    assert evidence.total(chains) == pytest.approx(parts.sum())
    assert evidence.of_chains(chains[1:])[0] == pytest.approx(parts[1])
    evidence.filter([chains[0][:30], chains[0][30:]])  # another's chain is read anew
    assert evidence.of_chains(chains[1:])[0] == pytest.approx(parts[1])
    assert evidence.of_chains([]).shape == (0,) and evidence.total([]) == 0


def test_a_chain_is_the_sum_of_its_parts() -> None:
    video, chains = two()
    evidence, chain = evidence_of(video, chains), chains[1]
    found = evidence.begins(chain[:1])[0] + evidence.paths.density[chain].sum()
    found += evidence.again(chain[:-1], chain[1:]).sum()
    found += evidence.ends(chain[-1:], chain[-10:-9])[0]
    counts = evidence.learned.counts(video, [chain])
    found += evidence.kinds(counts, np.array([LENGTH / video.rate]))[0]
    assert evidence.of_chains([chain])[0] == pytest.approx(found)


@pytest.mark.parametrize("frame", [0, 25, LENGTH - 1])
def test_a_detection_of_clearly_another_lowers_it(frame: int) -> None:
    """Frame 25 is in the second's gap, where it has no detection of its own."""
    video, (one, other) = two()
    evidence = evidence_of(video, [one, other])
    before = evidence.total([one, other])
    moved = one[video.rows.frame[one] == frame]
    left, more = np.setdiff1d(one, moved), np.union1d(other, moved)
    more = more[(video.rows.frame[more] != frame) | np.isin(more, moved)]
    rest = [np.setdiff1d(other, more)] if frame != 25 else []
    evidence.filter([left, more, *rest])
    assert evidence.total([left, more, *rest]) < before - 10


def test_pieces_of_one_are_less_likely_than_one() -> None:
    video, (one, other) = two()
    evidence = evidence_of(video, [one, other])
    before = evidence.total([one, other])
    evidence.filter([other[:20], other[20:]])
    assert evidence.total([one, other[:20], other[20:]]) < before - 5


def test_leaving_over_the_border_is_no_surprise() -> None:
    rows = walk(range(40), x=900, speed=(2.4, 0)) + walk(range(40), x=300, y=100, speed=(2.4, 0))
    video = video_of(boxes_of(rows), 150)
    chains = [np.flatnonzero(video.rows.o[:, 1] > 200), np.flatnonzero(video.rows.o[:, 1] < 200)]
    evidence = evidence_of(video, chains)
    last, earlier = (np.array([chain[k] for chain in chains]) for k in (-1, -13))
    border, middle = evidence.ends(last, earlier)
    assert border > -3 and middle < border - 1


def test_behind_another_an_end_is_less_of_a_surprise() -> None:
    rows: list[tuple[float, ...]] = list(walk(range(40), speed=(0, 0), noise=1))
    wall = [(t, 100.0, 320.0, 120.0, 200.0) for t in range(40, 100)]
    found = []
    for some in (rows, rows + wall):
        video = video_of(boxes_of(some), 100)
        person = video.rows.frame < 40
        chains = [np.flatnonzero(x) for x in (person, ~person) if x.any()]
        evidence = evidence_of(video, chains)
        found.append(evidence.ends(chains[0][-1:], chains[0][-13:-12])[0])
    assert found[1] > found[0] + 0.5


def test_kinds_are_summed() -> None:
    video, chains = two()
    law = EvidenceLaw()
    for good in (True, False):
        evidence = evidence_of(video, chains, good)
        counts = np.array([[0.0, 0.0], [0.0, 40.0], [40.0, 0.0]])
        none, high, low = evidence.kinds(counts, np.full(3, 0.15))
        assert high > none > low  # against clutter's law
        assert none < 3  # at most the ratio of how long brief clutter lasts
    assert replace(law, life=law.life) == law
