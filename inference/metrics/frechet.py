"""How far two sets of things are apart, each described by numbers: a Frechet distance.

Both sets of features become Gaussians:

    d = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)),

the squared 2-Wasserstein distance of the two (D. C. Dowson and B. V. Landau, "The Frechet distance
between multivariate normal distributions", Journal of Multivariate Analysis 1982). What the
features are decides what it measures: `frechet_speech_distance` for sounds, `frechet_frames` for
clips, `frechet_of_features` for your own.

Moments of n rows are estimates, and d of two samples of one distribution is not 0 but about
`bias`, which falls as 1 / n. Compare sets of the same size, or compare ``distance - bias``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ppl_models.errors import InputError


class FrechetDistance(NamedTuple):
    """A distance of two sets.

    Attributes
    ----------
    distance : float
        d, in the squared units of the features.
    error : float
        Its standard error, from the jackknife over batches of things.
    bias : float
        What of it is due to the size of the sets, by the same jackknife, to order 1 / n.
    windows : tuple of int
        How many rows of features each set has: windows of half a second of sounds, or clips.
    """

    distance: float
    error: float
    bias: float
    windows: tuple[int, int]


class _Sums(NamedTuple):
    """What the moments of some rows follow from: n, sum of x (D,), sum of x x^T (D, D)."""

    rows: int
    first: Tensor
    second: Tensor

    def less(self, other: _Sums) -> _Sums:
        return _Sums(self.rows - other.rows, self.first - other.first, self.second - other.second)

    def moments(self) -> tuple[Tensor, Tensor]:
        mean = self.first / self.rows
        scatter = self.second - self.rows * torch.outer(mean, mean)
        return mean, scatter / (self.rows - 1)


def frechet_distance(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> float:
    """Return the squared 2-Wasserstein distance of two Gaussians, with covariances (D, D).

    The trace of (C1 C2)^(1/2) is the sum of the singular values of C1^(1/2) C2^(1/2), which is
    symmetric in the two and needs no square root of a matrix that is not.

    Raises
    ------
    InputError
        Shapes that do not fit, or numbers that are not finite.
    """
    size = (len(mean1), len(mean1))
    shapes = [tuple(one.shape) for one in (mean1, cov1, mean2, cov2)]
    if shapes != [size[:1], size, size[:1], size]:
        found = ", ".join(map(str, shapes))
        raise InputError("mean1, cov1, mean2, cov2", found, "(D,), (D, D), twice", "match them")
    means, covs = (torch.stack(pair).double() for pair in ((mean1, mean2), (cov1, cov2)))
    if not (means.isfinite().all() and covs.isfinite().all()):
        raise InputError("moments", "numbers not finite", "finite moments", "look at the features")
    values, vectors = torch.linalg.eigh((covs + covs.mT) / 2)
    rounding = values.amax(1, True) * size[0] * torch.finfo(values.dtype).eps
    values = torch.where(values > rounding, values, 0)  # else a root of it counts
    roots = vectors * values.sqrt()[:, None, :] @ vectors.mT
    traces = covs.diagonal(dim1=-2, dim2=-1).sum()
    distance = (means[0] - means[1]).square().sum() + traces
    distance -= 2 * torch.linalg.svdvals(roots[0] @ roots[1]).sum()
    return max(float(distance), 0.0)


def frechet_of_features(
    recorded: Sequence[Tensor], generated: Sequence[Tensor], *, batches: int = 10, seed: int = 0
) -> FrechetDistance:
    """Return the distance of two sets of things, each described by rows (W_i, D) of features.

    For your own features, those of a network for example; nothing is scaled.
    """
    if batches < 2:
        raise InputError("batches", str(batches), "2 at least", "take 10")
    check_counts({"recorded": recorded, "generated": generated}, batches, "")
    dealt = [_deal(rows, batches, seed) for rows in (recorded, generated)]
    first, second = (_add(groups) for groups in dealt)
    distance = _distance(first, second)
    kept = [_distance(first.less(a), second.less(b)) for a, b in zip(*dealt, strict=True)]
    without = torch.tensor(kept, dtype=torch.float64)
    error = math.sqrt((batches - 1) * float(without.var(correction=0)))
    bias = (batches - 1) * (float(without.mean()) - distance)
    return FrechetDistance(distance, error, bias, (first.rows, second.rows))


def check_counts(sets: Mapping[str, Sequence[Tensor]], batches: int, what: str) -> None:
    """Refuse sets that have fewer things, ``what`` says of which kind, than batches."""
    for name, things in sets.items():
        if len(things) < batches:
            found, cure = f"{len(things)}{what}", "give more, or lessen batches"
            raise InputError(name, found, f"{batches} at least", cure)


def _deal(things: Sequence[Tensor], batches: int, seed: int) -> list[_Sums]:
    """Sum rows batch by batch; each thing is in one batch, its copy in the other set in the same.

    That is so where both sets are of one size, and in one order: sounds and what a model made of
    them. Their distance has no bias then, and the jackknife sees that.
    """
    order = torch.randperm(len(things), generator=torch.Generator().manual_seed(seed)).tolist()
    dealt = [torch.cat([things[i] for i in order[batch::batches]]) for batch in range(batches)]
    return [_Sums(len(x), x.sum(0), x.mT @ x) for x in dealt]


def _add(groups: Sequence[_Sums]) -> _Sums:
    rows, firsts, seconds = zip(*groups, strict=True)
    return _Sums(sum(rows), torch.stack(firsts).sum(0), torch.stack(seconds).sum(0))


def _distance(first: _Sums, second: _Sums) -> float:
    return frechet_distance(*first.moments(), *second.moments())
