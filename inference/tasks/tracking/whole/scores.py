r"""What scores say, learned from the video itself: which chains of detections are objects.

A chain of detections is an object's, or clutter's, which is brief or stays. Its length d in seconds
and the scores of its detections, as counts n in K bins of ranks, have the densities

.. math::
    p(d, n \mid \mathrm{object}) &= \mathrm{Exp}(d; \tau_0) \, \mathrm{DM}(n; \kappa \theta_o), \\
    p(d, n \mid \mathrm{clutter}_j) &= \mathrm{Exp}(d; \tau_j) \, \mathrm{DM}(n; \kappa \theta_c).

The Dirichlet-multinomial DM says that each chain has a law of scores of its own, near its class's:
scores of one object are alike, and a hundred of them do not say a hundred times as much. Laws and
shares of the kinds are learned by EM over all chains, without labels. It begins at what scores say
themselves, where they are probabilities; else at ranks. Log odds rise with the score. Where
scores are missing, or all the same, lengths decide: all that lasts is an object.

Reference: T. P. Minka, "Estimating a Dirichlet distribution", 2000 (the fixed point of the M step).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import digamma, gammaln, logsumexp, softmax

from inference.tasks.tracking.kalman import FloatArray, IntArray
from inference.tasks.tracking.whole.video import Video

STEADY = 30.0
"""Frames a second up to which each detection counts; above, as many as these in a second."""


@dataclass(frozen=True)
class ScoreLaw:
    """What is believed of scores and lengths before a video is seen.

    Attributes
    ----------
    num_bins : int
        K.
    concentration : float
        kappa: how near a chain's law of scores is to its class's.
    life : float
        tau_0: mean length of the chains of objects, in seconds.
    clutter, unscored : tuple of float
        tau_j: mean lengths of the kinds of clutter, in seconds; and where scores are missing, for
        then nothing but length tells them from objects.
    object_share : float
        Of all chains, where scores are no probabilities; where they are, their mean.
    chains : float
        How many chains these shares are worth, and so are the laws before chains are seen: scores
        that are probabilities are believed, of others ranks.
    sweeps : int
        Most steps of EM.
    """

    num_bins: int = 12
    concentration: float = 4.0
    life: float = 3.0
    clutter: tuple[float, ...] = (0.4, 3.0)
    unscored: tuple[float, ...] = (0.15,)
    object_share: float = 0.3
    chains: float = 10.0
    sweeps: int = 60


class Learned(NamedTuple):
    """Laws of scores, and of the kinds of chains."""

    settings: ScoreLaw
    bins: IntArray
    """(R): bin of each detection; K where it has no score."""
    law: FloatArray
    """(2, K): theta of objects, and of clutter."""
    share: FloatArray
    """(1 + J,): objects, and J kinds of clutter."""
    length: FloatArray
    """(1 + J,): their mean seconds."""

    def odds_of_scores(self, counts: FloatArray) -> FloatArray:
        """Log odds (M) of chains to be objects by their counts (M, K) alone."""
        kappa = self.settings.concentration
        return _log_counts(counts, kappa * self.law[0]) - _log_counts(counts, kappa * self.law[1])

    def odds(self, counts: FloatArray, seconds: FloatArray) -> FloatArray:
        """Log odds (M) of chains to be objects, by scores and lengths."""
        kinds = self.log_kinds(counts, seconds)
        odds: FloatArray = kinds[0] - logsumexp(kinds[1:], 0)
        return odds

    def log_kinds(self, counts: FloatArray, seconds: FloatArray) -> FloatArray:
        """Log density (1 + J, M) of chains to be of each kind, up to what all have in common."""
        mean, share = self.length[:, None], self.share[:, None]
        kinds: FloatArray = np.log(share) - seconds / mean - np.log(mean)
        kinds[0] += self.odds_of_scores(counts)
        return kinds

    def mute(self) -> Learned:
        """Return the same where scores say nothing."""
        law = np.full_like(self.law, 1 / self.settings.num_bins)
        share, length = _kinds(self.settings, float(self.share[0]), self.settings.unscored)
        return self._replace(law=law, share=share, length=length)

    @property
    def of_detections(self) -> FloatArray:
        """Log odds (R) that one score adds, 0 where there is none."""
        used = np.bincount(self.bins, minlength=self.settings.num_bins + 1)[:-1] > 0
        odds = np.where(used, np.log(self.law[0] / self.law[1]), 0.0)
        return np.append(odds, 0.0)[self.bins]

    def counts(self, video: Video, chains: list[IntArray]) -> FloatArray:
        """Return counts (M, K) of the scores of chains."""
        count = self.settings.num_bins
        found = np.zeros((len(chains), count + 1))
        for row, chain in zip(found, chains, strict=True):
            row += np.bincount(self.bins[chain], minlength=count + 1)
        return min(1.0, STEADY / video.rate) * found[:, :count]


def seconds_of(video: Video, chains: list[IntArray]) -> FloatArray:
    """Return the lengths (M) of chains, from the first detection to the last."""
    frame = video.rows.frame
    return np.array([frame[chain[-1]] - frame[chain[0]] + 1 for chain in chains]) / video.rate


def learn_scores(video: Video, chains: list[IntArray], settings: ScoreLaw) -> Learned:
    """Learn from all chains of a video, objects' and clutter's."""
    bins = rank_bins(video.rows.score, settings.num_bins)
    first = _first(video.rows.score, bins, settings)
    now = first
    counts, seconds = now.counts(video, chains), seconds_of(video, chains)
    informative = (counts.sum(0) > 0).sum() > 1
    if not informative:
        now = first = first.mute()
    for _ in range(settings.sweeps):
        new = _step(now, first, counts, seconds, bool(informative))
        moved = max(np.abs(np.log(new.law / now.law)).max(), np.abs(new.share - now.share).max())
        now = new
        if moved < 3e-3:
            break
    return now


def rank_bins(score: FloatArray, num_bins: int) -> IntArray:
    """Return the bin of each score (R) by its rank, equal ones together; ``num_bins`` for NaN."""
    bins = np.full(len(score), num_bins)
    known = np.isfinite(score)
    _, value, count = np.unique(score[known], return_inverse=True, return_counts=True)
    middle = (np.cumsum(count) - count / 2) / max(1, int(known.sum()))
    bins[known] = (num_bins * middle).astype(int).clip(max=num_bins - 1)[value]
    return bins


def _first(score: FloatArray, bins: IntArray, settings: ScoreLaw) -> Learned:
    """Return laws and shares before chains are seen."""
    count = settings.num_bins
    known = np.isfinite(score)
    belief = (np.arange(count) + 0.5) / count
    width, share = np.full(count, 1 / count), settings.object_share
    if known.any() and (score[known] <= 1).all():
        number = np.bincount(bins[known], minlength=count)[:count]
        total = np.bincount(bins[known], score[known], count)[:count]
        belief = np.where(number > 0, total / np.maximum(number, 1), belief).clip(0.02, 0.98)
        width = (number + 1) / (number + 1).sum()
        share = float((width * belief).sum())
    law = np.stack([width * belief, width * (1 - belief)])
    law /= law.sum(1, keepdims=True)
    return Learned(settings, bins, law, *_kinds(settings, share, settings.clutter))


def _kinds(
    settings: ScoreLaw, objects: float, clutter: tuple[float, ...]
) -> tuple[FloatArray, FloatArray]:
    """Return shares and mean lengths: of objects, and of clutter, whose kinds are as common."""
    share = np.array([objects, *[(1 - objects) / len(clutter)] * len(clutter)])
    return share, np.array([settings.life, *clutter])


def _step(
    now: Learned, first: Learned, counts: FloatArray, seconds: FloatArray, informative: bool
) -> Learned:
    """Take one E and one M step."""
    settings = now.settings
    kinds = softmax(now.log_kinds(counts, seconds), 0)
    number = kinds.sum(1) + settings.chains * first.share
    new = now._replace(share=number / number.sum())
    if not informative:
        return new
    law = np.empty_like(now.law)
    for i, weight in enumerate((kinds[0], 1 - kinds[0])):
        alpha = settings.concentration * now.law[i]
        drawn = alpha * (digamma(counts + alpha) - digamma(alpha))
        law[i] = weight @ drawn + settings.chains * first.law[i]
    return new._replace(law=_rising(law / law.sum(1, keepdims=True), counts.sum(0)))


def _rising(law: FloatArray, width: FloatArray) -> FloatArray:
    """Return laws of the same sum in each bin, whose log ratio does not fall with the score."""
    used, total = width > 0, law.sum(0)
    ratio = isotonic_regression(np.log(law[0] / law[1])[used], weights=width[used]).x
    law = law.copy()
    law[0, used] = total[used] * _sigmoid(ratio)
    law[1, used] = total[used] * _sigmoid(-ratio)
    scaled: FloatArray = law / law.sum(1, keepdims=True)
    return scaled


def _log_counts(counts: FloatArray, alpha: FloatArray) -> FloatArray:
    """Log probability of counts (M, K) in an order, Dirichlet-multinomial."""
    parts = (gammaln(counts + alpha) - gammaln(alpha)).sum(1)
    log_p: FloatArray = parts + gammaln(alpha.sum()) - gammaln(alpha.sum() + counts.sum(1))
    return log_p


def _sigmoid(x: FloatArray) -> FloatArray:
    return 1 / (1 + np.exp(-np.clip(x, -50, 50)))
