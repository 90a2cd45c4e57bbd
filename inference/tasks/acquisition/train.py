"""Learn a table: the recipe of `PartialVAE`, and `fit_table`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from guides.acquisition import PartialVAEGuide
from inference.objectives import Objective
from inference.randomness import derive
from inference.schedules import cosine
from inference.tasks.acquisition.files import TableDesign, save_table
from inference.tasks.acquisition.greedy import greedy_order
from inference.tasks.acquisition.predictor import PairPredictor
from inference.training import Run, fit
from ppl_models.acquisition import PartialVAE
from ppl_models.data import Column, HideMore
from ppl_models.errors import InputError

STEPS = 6_000
"""Of training, unless epochs are asked for: minutes of one core for a table of some 15 columns."""
BATCH_SIZE = 256
LEARNING_RATE = 2e-3
PARTICLES = 5
"""Draws of the bound that is maximised, whose weights predictions use as well."""
KEPT_BACK = 0.1
"""Share of the rows that choose the weights, and the one order for everybody."""
LONGEST_ORDER, JUDGES = 30, 256
"""Columns of that order, and rows that it is chosen on: it takes a prediction for every pair."""
FEWEST_ROWS = 10


def design_for(columns: Sequence[Column], latent_dim: int | None = None) -> TableDesign:
    """Return what a pair for these columns is built from.

    ``latent_dim`` is by default half as many as there are columns, from 2 to 8.
    """
    size = len(columns)
    latent_dim = min(max(2, (size + 1) // 2), 8) if latent_dim is None else latent_dim
    options = {"hidden_dims": [96, 96], "linear": True}
    guide_options = {"hidden_dims": [96], "covariance": "full"}
    return TableDesign(tuple(columns), latent_dim, options, guide_options)


def fit_table(
    x: Tensor,
    mask: Tensor | None = None,
    *,
    out: str | os.PathLike[str],
    columns: Sequence[Column] | None = None,
    latent_dim: int | None = None,
    epochs: int | None = None,
    seed: int = 0,
    resume: bool = False,
    tell: Callable[[str], None] | None = None,
    **settings: Any,
) -> Path:
    """Train `PartialVAE` on a table, and keep the pair with what acquisition needs.

    In every step a random share of what is known of a row is hidden, so that any subset of columns
    can be read; a tenth of the rows is kept back to choose the weights, and the fixed order.

    Parameters
    ----------
    x
        Rows (N, D), in the units of the data; classes as 0, 1, ...
    mask
        What was observed (N, D); by default what is no NaN.
    out
        Folder of the run, which `load_table` and ``ppl acquire`` take.
    columns
        By default D real ones, x1 to xD.
    latent_dim
        L; see `design_for`.
    epochs
        Passes over the rows; by default what `STEPS` steps come to.
    seed, resume
        As of `inference.fit`.
    tell
        Called with each line about what is done.
    **settings
        Others of `inference.fit`: ``accelerator="gpu"``, ``progress=False``, ...

    Returns
    -------
    Path
        The file of the pair.

    Raises
    ------
    InputError
        Fewer rows than `FEWEST_ROWS`, a value that its column cannot have, or nothing observed.
    KeyboardInterrupt
        Ctrl-C during training, once the run so far is kept, without a fixed order.
    """
    tell = tell or (lambda line: None)
    if x.ndim != 2 or len(x) < FEWEST_ROWS:
        cure = "give more rows: one value of each column a row, a gap where there is none"
        raise InputError("x", f"shape {tuple(x.shape)}", f"{FEWEST_ROWS} rows or more", cure)
    x = x.to(torch.get_default_dtype())
    mask = ~x.isnan() if mask is None else mask
    columns = tuple(columns or (Column(f"x{d}") for d in range(1, x.shape[1] + 1)))
    design = design_for(columns, latent_dim)
    model, guide = design.pair(seed)
    model.start_from(x, mask)  # which looks at all rows
    _, kept = _split(mask, seed)
    settings |= {"directory": out, "seed": seed, "resume": resume, "epochs": epochs}
    run = fit_pair(model, guide, x, mask, kept=kept, **settings)
    tell(str(run))
    order: tuple[int, ...] = ()
    if not run.interrupted:  # else nobody wants to wait for it
        tell("choosing the one order of columns that is best for everybody")
        judges = kept[:JUDGES]
        order = greedy_order(
            PairPredictor(model, guide),
            x[judges],
            mask=mask[judges],
            steps=LONGEST_ORDER,
            seed=derive(seed, "order"),
        )
    extra = {
        "seed": seed,
        "epochs": run.epochs,
        "bound": run.best_bound,
        "order": [columns[d].name for d in order],
        "ranges": _ranges(columns, x, mask),
    }
    path = save_table(out, design, model, guide, extra)
    if run.interrupted:
        raise KeyboardInterrupt
    return path


def fit_pair(
    model: PartialVAE,
    guide: PartialVAEGuide,
    x: Tensor,
    mask: Tensor | None = None,
    *,
    kept: Tensor,
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    **settings: Any,
) -> Run:
    """Train a pair in place by the recipe of `fit_table`.

    Parameters
    ----------
    model, guide
    x, mask
        Rows (N, D), and what was observed of them.
    kept
        Numbers of the rows that are kept back, to choose the weights.
    steps, epochs
        Of training, by default `STEPS`; epochs are passes over the other rows.
    batch_size
        By default `BATCH_SIZE`, or all rows if there are fewer.
    **settings
        Others of `inference.fit`, or in place of the recipe's objective, rate and masks.
    """
    mask = ~x.isnan() if mask is None else mask
    train = torch.ones(len(x), dtype=torch.bool)
    train[kept] = False
    model.likelihood.check(x, mask)
    model.start_from(x[train], mask[train])
    size = int(train.sum())
    batch_size = min(batch_size or BATCH_SIZE, size)
    per_epoch = -(-size // batch_size)
    epochs = max(1, (steps or STEPS) // per_epoch) if epochs is None else epochs
    steps = epochs * per_epoch
    recipe: dict[str, Any] = {
        "objective": Objective("iwae", num_particles=PARTICLES),
        "learning_rate": cosine(steps, LEARNING_RATE, warmup=steps // 20 + 1),
        "transform": HideMore(),
        "report_every": max(1, epochs // 60),
    }
    return fit(
        model,
        guide,
        {"x": x[train], "mask": mask[train]},
        validation={"x": x[kept], "mask": mask[kept]},
        epochs=epochs,
        batch_size=batch_size,
        **recipe | settings,
    )


def _split(mask: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Choose rows to train on, and rows to keep back, of a table (N, D).

    Of every column that has one, a value is left to train on.
    """
    size = len(mask)
    generator = torch.Generator().manual_seed(derive(seed, "kept back"))
    order = torch.randperm(size, generator=generator)
    count = max(1, round(KEPT_BACK * size))
    last = size - 1 - mask[order].flip(0).int().argmax(0)  # row, in this order, with a value
    free = torch.ones(size, dtype=torch.bool)
    free[last[mask.any(0)]] = False
    kept = order[free][:count] if bool(free.any()) else order[:count]
    return order[~torch.isin(order, kept)], kept


def _ranges(columns: Sequence[Column], x: Tensor, mask: Tensor) -> dict[str, tuple[float, float]]:
    """Return the least and the greatest value observed of each column of numbers."""
    found = {}
    for column, values, there in zip(columns, x.T, mask.T, strict=True):
        if not column.num_classes and bool(there.any()):
            seen = values[there]
            found[column.name] = (float(seen.min()), float(seen.max()))
    return found
