r"""What each nat of rate buys: a family of fits of one pair, and the curve they trace.

Each member minimises :math:`D + \beta R` for its own :math:`\beta`, or for the one that keeps the
rate at a target. Where the family can reach all trade-offs,

1. on training data the distortion falls as the rate grows, along a convex curve of slope
   :math:`-\beta`;
2. at :math:`\beta = 1` the sum D + R, minus the bound, is least: the tangent of slope -1;
3. for discrete data no point is below :math:`D + R = H(x)`;
4. :math:`H - D \le I_q(x; z) \le R`.

Rates of different priors or guides do not compare: one curve is one pair's.

References: Alemi et al. 2018, "Fixing a broken ELBO", sections 2-3; Hoegh, "On learning useful
variational autoencoder representations", 2022, section 2.3 and appendix B.E.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from inference.diagnostics import Curve, Point, Rates, rates
from inference.objectives import Objective, TargetRate
from inference.randomness import derive, seeded
from inference.tracing import Columns, bind, columns
from inference.training import fit
from ppl_models.errors import InputError

_JUDGED = 1000  # training data that rates are measured on
Pair = tuple[Callable[..., Any], Callable[..., Any]]


def rate_distortion(
    pair_factory: Callable[[], Pair],
    data: Any,
    rates: Sequence[float | TargetRate] = (),
    *,
    betas: Sequence[float] = (),
    test: Any = None,
    objective: Objective | None = None,
    entropy: float | None = None,
    directory: str | os.PathLike[str] | None = None,
    num_samples: int = 20,
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> Curve:
    """Fit a pair again and again, each time at another rate, and measure what that buys.

    Every member starts from the same initial weights and sees the same batches. Judged are its last
    weights (early ones have another rate), by plain rates and distortions.

    Parameters
    ----------
    pair_factory
        A function that returns a new model and its guide. Called under the seed.
    data
        To train on, in any form that `fit` takes, a DataLoader apart.
    rates
        Targets, in nats a datum, or `TargetRate` objects with settings of their own.
    betas
        Fixed KL weights; 1 should be among them, or the tangent has no point.
    test
        Data to judge by, in the same form; by default the training data.
    objective
        What else is to be said of the objective; its KL weight is replaced.
    entropy
        H(x) in nats a datum, where it is known (a simulated discrete source): the floor of D + R.
    directory
        A folder that gets a folder a member. Called again, members that are done are read, one that
        was interrupted goes on, to the numbers of an unbroken sweep; another sweep is refused.
    num_samples
        Of the guide, that rates and distortions are averaged over.
    seed
        Of initial weights, batches and noise, the same for all members.
    progress
        Show a bar over the members, in a terminal or a notebook.
    **options
        What else `fit` takes: ``epochs``, ``batch_size``, ``learning_rate``, ...

    Returns
    -------
    Curve
        The points, in the order of their rates; after a first Ctrl-C those that were done.

    Raises
    ------
    InputError
        No member; an option that would choose weights by a bound (validation, patience).
    CheckpointError
        The folder holds another sweep.
    PairError, NonFiniteError
        As `fit` and `rates` raise them.
    """
    family = _family(rates, betas)
    refused = {"validation", "patience", "resume"} & set(options)
    if refused:
        found, cure = f"{sorted(refused)[0]}=...", "leave it out, and choose `epochs`"
        raise InputError("options", found, "a sweep that judges last weights", cure)
    seen_data = columns(data, "data")
    judged = seen_data if test is None else columns(test, "test")
    watched = progress and (sys.stderr.isatty() or "ipykernel" in sys.modules)
    points, interrupted = [], False
    bar = tqdm(family.items(), disable=not watched, unit=" fits")
    with bar:
        for name, weight in bar:
            bar.set_description(name)
            with seeded(derive(seed, "pair")):
                model, guide = pair_factory()
            run = fit(
                *bind(model, guide, *_few(seen_data).args, **_few(seen_data).kwargs),
                data,
                objective=replace(objective or Objective(), kl_weight=weight),
                seed=seed,
                directory=None if directory is None else Path(directory) / name.replace(" ", "-"),
                resume=directory is not None,
                progress=False,
                **options,
            )
            if run.interrupted:
                interrupted = True
                break
            points.append(
                _point(name, weight, run.model, run.guide, seen_data, judged, num_samples)
            )
    return Curve(tuple(sorted(points, key=lambda p: p.rate)), entropy, interrupted)


def _few(data: Columns) -> Columns:
    return data.rows(slice(0, min(2, data.size)))


def _family(
    targets: Sequence[float | TargetRate], betas: Sequence[float]
) -> dict[str, float | TargetRate]:
    """Name the members, with their KL weights."""
    steered = [t if isinstance(t, TargetRate) else TargetRate(float(t)) for t in targets]
    family: dict[str, float | TargetRate] = {f"rate {t.nats:g}": t for t in steered}
    family |= {f"beta {beta:g}": float(beta) for beta in betas}
    if not family or len(family) < len(steered) + len(betas):
        found = f"{len(steered)} target rates and {len(betas)} betas"
        cure = "give some, each once: betas=(0.1, 0.3, 1, 3, 10)"
        raise InputError("rates, betas", found, "at least one, and no two the same", cure)
    return family


def _point(
    name: str,
    weight: float | TargetRate,
    model: nn.Module,
    guide: nn.Module,
    seen: Columns,
    judged: Columns,
    num_samples: int,
) -> Point:
    """Judge one member by its last weights."""
    table = rates(model, guide, *judged.args, num_samples=num_samples, **judged.kwargs)
    if judged is not seen:
        generator = torch.Generator().manual_seed(0)
        some = seen.rows(torch.randperm(seen.size, generator=generator)[:_JUDGED])
        trained = rates(model, guide, *some.args, num_samples=num_samples, **some.kwargs)
    else:
        trained = table
    return Point(
        name,
        float(weight.weight if isinstance(weight, TargetRate) else weight),
        *_sum(table, "rate"),
        *_sum(table, "distortion"),
        table.bound,
        table.error,
        _sum(trained, "rate")[0],
        _sum(trained, "distortion")[0],
        weight.nats if isinstance(weight, TargetRate) else None,
    )


def _sum(table: Rates, kind: str) -> tuple[float, float]:
    """Add up the rows of one kind; the errors of several as if they were independent."""
    rows = [row for row in table.rows if row.kind == kind]
    return sum(row.nats for row in rows), sum(row.error**2 for row in rows) ** 0.5
