"""Whether intervals of a prediction hold what they should: their coverage, value by value."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from inference.randomness import derive
from inference.tasks.acquisition.errors import weighted_quantiles
from inference.tasks.acquisition.predictor import Predictor, check_people
from ppl_models.errors import InputError

BLOCK = 256


@torch.no_grad()
def interval_coverage(
    predictor: Predictor,
    x: Tensor,
    known: Tensor,
    levels: Sequence[float] = (0.5, 0.8, 0.95),
    *,
    num_samples: int = 500,
    seed: int = 0,
) -> Tensor:
    """Return which values lie within the central intervals of their predictions, (Q, N, D).

    A calibrated predictor holds half of the values that were not measured in its intervals of 0.5,
    and so on. Ends count as inside: a value at a censored column's limit is in an interval that
    ends there.

    Parameters
    ----------
    predictor
    x
        The values (N, D); any number where there is none.
    known
        What was measured of them (N, D), and may be used.
    levels
        Probabilities of the intervals, Q of them.
    num_samples, seed
        Draws of the posterior, with a value of each column each.

    Raises
    ------
    InputError
        A level that is no probability, or data of another shape.
    """
    if not levels or not all(0 < level < 1 for level in levels):
        cure = "levels=(0.5, 0.8, 0.95)"
        raise InputError("levels", str(tuple(levels)), "probabilities between 0 and 1", cure)
    check_people(predictor.table, x, known)
    tails = [(1 - level) / 2 for level in levels]
    inside = []
    for start in range(0, len(x), BLOCK):
        rows = slice(start, start + BLOCK)
        draws = predictor.draws(x[rows], known[rows], num_samples, seed)
        values = draws.sample_columns(derive(seed, "intervals")).double()
        weights = draws.weights[..., None].expand_as(values).double()
        size, people, dim = values.shape
        flat = values.reshape(size, -1), weights.reshape(size, -1)
        ends = weighted_quantiles(*flat, tuple([*tails, *(1 - tail for tail in tails)]))
        low, high = ends.reshape(people, dim, 2, len(tails)).movedim((2, 3), (0, 1))
        there = x[rows].double()
        inside.append((low <= there) & (there <= high))
    return torch.cat(inside, 1)
