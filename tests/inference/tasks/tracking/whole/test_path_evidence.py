"""Evidence of paths against the density of one Gaussian of all detections at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from inference.tasks.tracking.whole.errors import ErrorLaw
from inference.tasks.tracking.whole.law import LINKING
from inference.tasks.tracking.whole.path_evidence import PathLaw, Paths, continued, filter_chains
from inference.tasks.tracking.whole.video import Video
from tests.inference.tasks.tracking.whole.made import boxes_of, video_of, walk

SEEN = [3, 4, 5, 9, 10, 17]
LENGTH = 22
ANYWHERE = 100.0
"""Standard deviation of a first position, in heights: flat beside all else."""


def law_of(outliers: float = 1e-12) -> PathLaw:
    return PathLaw(replace(LINKING, outliers=outliers), ErrorLaw(seconds=0.3))


def read(video: Video, chains: list[np.ndarray], law: PathLaw) -> Paths:
    paths = Paths.none(len(video.rows.frame))
    filter_chains(video, chains, law, paths)
    return paths


def dense(video: Video, law: PathLaw, d: int) -> float:
    """Log density of coordinate d of all detections but the first, given the first."""
    unit, t = video.rows.unit[0, d], video.rows.frame / video.rate
    t = t - t[0]
    low, high = np.minimum(t[:, None], t), np.maximum(t[:, None], t)
    total = (ANYWHERE * unit) ** 2 + np.outer(t, t) * (law.motion.speed[d] * unit) ** 2
    total = total + (law.motion.change[d] * unit) ** 2 * low**2 * (3 * high - low) / 6
    total += (law.errors.lasting[d] * unit) ** 2 * np.exp((low - high) / law.errors.seconds)
    total += (law.errors.white[d] * unit) ** 2 * np.eye(len(t))
    error = video.rows.o[:, d] - video.rows.o[0, d]
    first = multivariate_normal(0.0, total[0, 0]).logpdf(0.0)
    return float(multivariate_normal(np.zeros(len(t)), total).logpdf(error) - first)


@pytest.mark.parametrize("rate", [5.0, 25.0])
def test_evidence_is_that_of_the_whole_gaussian_at_once(rate: float) -> None:
    """Tiny outliers make the law Gaussian; a first position is flat to 1e-4, `ANYWHERE` wide."""
    video, law = video_of(boxes_of(walk(SEEN, noise=2)), LENGTH, rate), law_of()
    paths = read(video, [np.arange(len(SEEN))], law)
    assert paths.density[0] == 0
    expected = sum(dense(video, law, d) for d in range(4))
    assert paths.density.sum() == pytest.approx(expected, abs=2e-3)


def test_chains_side_by_side_are_read_as_alone() -> None:
    rows = walk(SEEN, noise=2) + walk(range(8, 15), x=600, noise=2, seed=1)
    video = video_of(boxes_of(rows), LENGTH)
    chains = [np.flatnonzero(side) for side in (video.rows.o[:, 0] < 500, video.rows.o[:, 0] > 500)]
    both = read(video, chains, law_of(0.2))
    for chain in chains:
        alone = read(video, [chain], law_of(0.2))
        assert np.allclose(both.density[chain], alone.density[chain])
        assert np.allclose(both.state.mean[:, chain], alone.state.mean[:, chain])


def test_a_chain_that_is_cut_and_continued_is_the_same() -> None:
    video, law = video_of(boxes_of(walk(range(20), noise=2)), LENGTH), law_of(0.2)
    paths = read(video, [np.arange(20)], law)
    before = np.array([4, 19, 11])
    tails = [np.arange(5, 20), np.arange(0), np.arange(12, 15)]
    found = continued(video, paths.state.of(before), before, tails, law)
    assert np.allclose(found, [paths.density[tail].sum() for tail in tails])


def test_a_head_that_is_known_is_not_read_again() -> None:
    video, law = video_of(boxes_of(walk(range(20), noise=2)), LENGTH), law_of(0.2)
    whole, chain = read(video, [np.arange(20)], law), np.arange(20)
    paths = read(video, [chain[:12]], law)
    filter_chains(video, [chain, chain[:3]], law, paths, [12, 3])
    assert np.allclose(paths.density, whole.density)
    assert np.allclose(paths.state.covariance, whole.state.covariance)


def test_a_box_that_is_cut_for_a_while_is_a_surprise_once() -> None:
    """Heights shrink by a third, and come back."""
    rows = [(*row, 40.0, 67.0 if 10 <= row[0] < 20 else 100.0) for row in walk(range(30), noise=1)]
    video = video_of(boxes_of(rows), 30)
    density = read(video, [np.arange(30)], law_of(0.2)).density
    usual = np.median(density[1:10])
    assert density[10] < usual - 2 and density[12:20].min() > usual - 2
