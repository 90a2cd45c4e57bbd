"""What scores say: learned without labels, for detectors of any scale; nothing without scores."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from inference.tasks.tracking.kalman import IntArray
from inference.tasks.tracking.whole.scores import (
    Learned,
    ScoreLaw,
    learn_scores,
    rank_bins,
    seconds_of,
)
from inference.tasks.tracking.whole.video import Video
from ppl_models.data.motchallenge import Boxes
from tests.inference.tasks.tracking.whole.made import IMAGE


def made(seed: int = 0, scores: bool = True) -> tuple[Video, list[IntArray], np.ndarray]:
    """Chains: objects that last, clutter that does not, and some that does."""
    rng = np.random.default_rng(seed)
    kinds = np.array(["object"] * 30 + ["brief"] * 80 + ["lasting"] * 8)
    frame, score, chains, at = list[int](), list[float](), list[IntArray](), 0
    for kind in kinds:
        length = 1 + int(rng.exponential(25 * (0.12 if kind == "brief" else 3.0)))
        law = (8.0, 2.0) if kind == "object" else (2.0, 5.0)
        frame += range(length)
        score += rng.beta(*law, length).tolist()
        chains.append(np.arange(at, at + length))
        at += length
    order = np.argsort(frame, kind="stable")
    place = np.empty(at, np.int64)
    place[order] = np.arange(at)
    ltwh = np.tile([0.0, 0.0, 40.0, 100.0], (at, 1))
    values = np.array(score)[order] if scores else np.full(at, -1.0)
    boxes = Boxes(np.array(frame)[order], np.full(at, -1), ltwh, values)
    video = Video(boxes, 0, max(frame), IMAGE, 25.0)
    return video, [np.sort(place[chain]) for chain in chains], kinds == "object"


def odds_of(video: Video, chains: list[IntArray], law: ScoreLaw) -> np.ndarray:
    learned = learn_scores(video, chains, law)
    return learned.odds(learned.counts(video, chains), seconds_of(video, chains))


@pytest.mark.parametrize(
    "law", [ScoreLaw(), ScoreLaw(20, 8.0, 5.0, (0.3, 5.0), (0.3,), 0.5, 5.0, 30)]
)
def test_objects_and_clutter_are_told_apart_without_labels(law: ScoreLaw) -> None:
    """Of 118 chains a handful, brief objects with middling scores, cannot be told: 5 % may fail."""
    video, chains, truth = made()
    assert ((odds_of(video, chains, law) > 0) == truth).mean() > 0.95


def test_log_odds_of_a_score_rise_and_have_the_sign_of_the_truth() -> None:
    video, chains, _ = made()
    learned = learn_scores(video, chains, ScoreLaw())
    odds, score = learned.of_detections, video.rows.score
    order = np.argsort(score)
    assert (np.diff(odds[order]) >= -1e-9).all()
    # the true laws cross at .53; a bin of ranks is some .1 wide
    assert (odds[score > 0.7] > 0).all() and (odds[score < 0.35] < 0).all()


@pytest.mark.parametrize("power", [0.5, 3.0])
def test_another_detectors_scale_gives_nearly_the_same_objects(power: float) -> None:
    video, chains, truth = made()
    other = video.at_rate(video.rate)
    other.rows = video.rows._replace(score=video.rows.score**power)
    assert ((odds_of(other, chains, ScoreLaw()) > 0) == truth).mean() > 0.93


def test_scores_that_are_no_probabilities_go_by_rank() -> None:
    video, chains, truth = made()
    other = video.at_rate(video.rate)
    other.rows = video.rows._replace(score=100 * video.rows.score)
    assert ((odds_of(other, chains, ScoreLaw()) > 0) == truth).mean() > 0.9


def test_without_scores_lengths_decide() -> None:
    video, chains, _ = made(scores=False)
    learned = learn_scores(video, chains, ScoreLaw())
    assert not learned.of_detections.any()
    odds, seconds = odds_of(video, chains, ScoreLaw()), seconds_of(video, chains)
    assert (odds[seconds > 1.5] > 0).all() and (odds[seconds < 0.1] < 0).all()


def test_counts_of_scores_are_a_probability() -> None:
    """The Dirichlet-multinomial of all sequences of three scores sums to one, for both laws."""
    law = np.array([[0.2, 0.8], [0.6, 0.4]])
    learned = Learned(
        ScoreLaw(num_bins=2), np.zeros(0, np.int64), law, np.full(3, 1 / 3), np.ones(3)
    )
    counts = np.array([np.bincount(one, minlength=2) for one in product(range(2), repeat=3)])
    ratio = np.exp(learned.odds_of_scores(counts.astype(float)))
    kappa = learned.settings.concentration

    def density(theta: np.ndarray) -> np.ndarray:
        found = []
        for one in product(range(2), repeat=3):
            seen, p = np.zeros(2), 1.0
            for k in one:  # Polya's urn
                p *= (kappa * theta[k] + seen[k]) / (kappa + seen.sum())
                seen[k] += 1
            found.append(p)
        return np.array(found)

    assert density(law[0]).sum() == pytest.approx(1)
    assert np.allclose(ratio, density(law[0]) / density(law[1]))


def test_bins_hold_equal_shares_and_equal_scores_stay_together() -> None:
    score = np.array([0.1, 0.2, 0.3, 0.4, np.nan, 0.4, 0.4, 0.9])
    bins = rank_bins(score, 4)
    assert bins[4] == 4 and len({int(bins[i]) for i in (3, 5, 6)}) == 1
    known = bins[np.isfinite(score)]
    assert (np.diff(known[np.argsort(score[np.isfinite(score)])]) >= 0).all()
    assert (rank_bins(np.random.default_rng(0).random(1000), 5) < 5).all()
    assert np.bincount(rank_bins(np.arange(1000.0), 5)).tolist() == [200] * 5


def test_fast_film_counts_no_more_than_thirty_a_second() -> None:
    video, chains, _ = made()
    learned = learn_scores(video, chains, ScoreLaw())
    fast = learned.counts(video.at_rate(60.0), chains)
    assert np.allclose(fast, 0.5 * learned.counts(video, chains))
