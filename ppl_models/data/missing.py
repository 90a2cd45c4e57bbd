"""Which numbers of a table are hidden: once, or anew in each batch, so that any subset can be read.

A model that is asked what comes next was trained on rows of which a random share was observed: from
nothing to everything. A *static* mask is drawn once; a *dynamic* one, drawn from each step's seed,
is an augmentation: the same row is seen with other gaps in each epoch.

References
----------
Høegh, "On Learning Useful Variational Autoencoder Representations", DTU 2022, appendix A, 4.6.
Theis, van den Oord and Bethge, "A note on the evaluation of generative models", ICLR 2016: noise
against the steps of a scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppl_models.errors import InputError
from ppl_models.inputs import check_count

EMPTY = FULL = 0.1
"""Shares of rows of which nothing, or everything, is observed."""


def random_mask(
    size: int,
    data_dim: int,
    *,
    seed: int | None = 0,
    empty: float = EMPTY,
    full: float = FULL,
    always: Sequence[int] = (),
) -> Tensor:
    """Draw which numbers are observed, completely at random: True is observed, (N, D).

    Each row draws the share of its numbers that is missing, uniform from 0 to 1, and then which;
    then some rows, chosen at random, have nothing or everything instead.

    Parameters
    ----------
    size, data_dim
        N and D.
    seed
        Of the mask; None draws from torch's global generator, as in a step of `inference.fit`.
    empty, full
        Probabilities of a row of which nothing, or everything, is observed.
    always
        Columns that are observed in every row, numbered from 0: the age, -1.

    Raises
    ------
    InputError
        A size below one; probabilities that are none, or that sum to more than 1; a column that
        does not exist.
    """
    check_count("size", size)
    check_count("data_dim", data_dim)
    if not (empty >= 0 and full >= 0 and empty + full <= 1):
        cure = "give 0.1 each, or 0 for none"
        raise InputError("empty, full", f"{empty}, {full}", "probabilities, sum at most 1", cure)
    for column in always:
        if not -data_dim <= column < data_dim:
            cure = "number columns from 0, or from -1 backwards"
            expected = f"columns from {-data_dim} to {data_dim - 1}"
            raise InputError("always", str(tuple(always)), expected, cure)
    share, kind, each = _uniform(seed, (size, 1), (size, 1), (size, data_dim))
    mask = each >= share
    mask = (mask & (kind >= empty)) | (kind >= 1 - full)
    mask[:, list(always)] = True
    return mask


def _uniform(seed: int | None, *shapes: tuple[int, int]) -> list[Tensor]:
    """Draw from 0 to 1.

    NumPy draws what has a seed: torch's own first numbers at that seed are those of a step of
    `inference.fit` at the same seed, and a dynamic mask would repeat the static one.
    """
    if seed is None:
        return [torch.rand(shape) for shape in shapes]
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.random(shape)) for shape in shapes]


class HideMore:
    """A ``transform`` for `inference.fit` that hides further numbers of each batch, anew each time.

    ``fit(model, guide, {"x": x, "mask": mask}, transform=HideMore())``. What was missing stays so.
    Random numbers come from torch's global generator, which `fit` seeds for each step, so that a
    run can be repeated and resumed.

    Parameters
    ----------
    empty, full
        As of `random_mask`; rows that are full have all that was observed.
    always
        Columns that are never hidden further.
    step
        Width of the scale on which a number was read, in the units of its column: uniform noise
        from -step / 2 to step / 2 is added (dequantisation). One for all columns, or D of them: 5
        for thresholds in steps of 5 dB, 0 for none.

    Raises
    ------
    InputError
        A step that is negative or not finite. When called: a batch that is no dict with ``x``, or a
        mask of another shape.
    """

    def __init__(
        self,
        *,
        empty: float = EMPTY,
        full: float = FULL,
        always: Sequence[int] = (),
        step: float | Sequence[float] = 0.0,
    ) -> None:
        self.empty, self.full, self.always = empty, full, tuple(always)
        self.step = tuple(step) if isinstance(step, Sequence) else (step,)
        if not all(0 <= width < math.inf for width in self.step):
            cure = "give the distance from one value of the scale to the next: 5 for dB"
            raise InputError("step", str(step), "numbers of at least 0", cure)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return the batch with another ``mask`` (B, D), and noise on ``x`` (B, D)."""
        x = batch.get("x") if isinstance(batch, Mapping) else None
        if not isinstance(x, Tensor) or x.ndim != 2:
            found = f"a {type(batch).__name__}" if x is None else "an x of another shape"
            cure = 'inference.fit(model, guide, {"x": x, "mask": mask}, transform=HideMore())'
            raise InputError("batch", found, "a dict with x (B, D)", cure)
        size, data_dim = x.shape
        if len(self.step) not in (1, data_dim):
            cure = "give one number, or one for each column"
            raise InputError("step", f"{len(self.step)} numbers", f"1 or {data_dim}", cure)
        old = batch.get("mask")
        if old is not None and (old.shape != x.shape or old.dtype is not torch.bool):
            found = f"{old.dtype} of shape {tuple(old.shape)}"
            raise InputError("mask", found, f"booleans {tuple(x.shape)}", "mask = ~x.isnan()")
        mask = random_mask(
            size, data_dim, seed=None, empty=self.empty, full=self.full, always=self.always
        ).to(x.device)
        if any(self.step):
            noise = torch.rand(size, data_dim).to(x) - 0.5
            x = x + noise * torch.tensor(self.step).to(x)
        return {**batch, "x": x, "mask": mask if old is None else mask & old}
