"""What ``ppl acquire --replay`` does: every row of a table measured again, and written down."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from inference.cli.progress import progress
from inference.cli.table_jobs import reward_of
from inference.cli.track_jobs import make_folder
from ppl_models.errors import InputError, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from inference.tasks.acquisition import Curve, TrainedTable

CURVE, ORDER = "curve.csv", "order.csv"
CURVES, AREAS, SEQUENCE = "curves.png", "areas.png", "sequence.png"
MOST_ROWS = 20_000
"""Rows that are measured again unless more are asked for: a policy takes some ms of each."""


def replay(
    trained: TrainedTable,
    file: Path,
    policies: Sequence[str],
    out: Path,
    *,
    targets: Sequence[str],
    known: Sequence[str],
    rows: int | None,
    steps: int | None,
    samples: int,
    tau: float | None,
    sure: float,
    seed: int,
    overwrite: bool,
) -> None:
    """Measure each row of a table as if it were not known, by several policies, and write it down.

    Raises
    ------
    InputError
        A table or columns that do not fit the run, or answers that are there already.
    """
    from dataclasses import replace

    from inference.tasks.acquisition import acquire, stop_by_posterior
    from ppl_models.data import read_columns

    read = read_columns(file, columns=trained.design.columns)
    x, mask = _some_rows(read.x, read.mask, rows, seed)
    _say_ranges(trained, x, mask)
    names = [column.name for column in trained.design.columns]
    for option, given in (("--known", known), ("--target", targets)):
        for name in given:
            if name not in names:
                raise unknown(option, name, names)
    if (out / CURVE).exists() and not overwrite:
        raise InputError("--out", f"{out}, which has a {CURVE}", "a new folder", "--overwrite")
    rewards = {policy: reward_of(trained, policy, targets) for policy in dict.fromkeys(policies)}
    make_folder(out)
    curves: dict[str, Curve] = {}
    with progress(len(rewards)) as step:
        for done, (policy, reward) in enumerate(rewards.items()):
            step(f"measuring {len(x):,} rows by {policy}", done)
            curve = acquire(
                trained.predictor,
                x,
                reward,
                mask=mask,
                measured=known,
                acquirable=[n for n in names if n not in targets and n not in known],
                steps=steps,
                num_samples=samples,
                seed=seed,
            )
            curves[policy] = replace(curve, policy=policy)
    for curve in curves.values():
        typer.echo(str(curve))
        if tau is not None:
            where = stop_by_posterior(curve, tau, sure).double().mean()
            typer.echo(f"  stops after {where:.1f} measurements, where RMSE < {tau:g} is likely")
    _write(trained, x, mask, curves, known, tau, out)
    typer.echo(f"saved: {out}")


def _some_rows(x: Tensor, mask: Tensor, rows: int | None, seed: int) -> tuple[Tensor, Tensor]:
    """Return a table, or some of its rows by lot where there are too many, and say so."""
    import torch

    from inference.randomness import derive

    most = MOST_ROWS if rows is None else rows
    if len(x) <= most:
        return x, mask
    typer.echo(f"note: {most:,} of {len(x):,} rows, by lot; more with --rows", err=True)
    generator = torch.Generator().manual_seed(derive(seed, "rows"))
    some = torch.randperm(len(x), generator=generator)[:most].sort().values
    return x[some], mask[some]


def _say_ranges(trained: TrainedTable, x: Tensor, mask: Tensor) -> None:
    """Say which columns have values outside of those that training had."""
    for d, column in enumerate(trained.design.columns):
        seen = x[mask[:, d], d]
        low, high = trained.ranges.get(column.name, (-math.inf, math.inf))
        outside = int(((seen < low) | (seen > high)).sum())
        if outside:
            ends = f"{seen.min():.4g} to {seen.max():.4g}; training had {low:.4g} to {high:.4g}"
            typer.echo(
                f"note: {column.name}: {outside} of {len(seen)} values are outside of what "
                f"training had: {ends}",
                err=True,
            )


def _write(
    trained: TrainedTable,
    x: Tensor,
    mask: Tensor,
    curves: dict[str, Curve],
    known: Sequence[str],
    tau: float | None,
    out: Path,
) -> None:
    """Write curves, orders, and pictures: curves, areas, and the first row by the first policy."""
    import matplotlib.pyplot as plt

    from inference.tasks.acquisition import draw_areas, draw_curves, draw_sequence, write_curves
    from ppl_models.data.files import write_whole

    write_curves(out / CURVE, curves.values())
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["policy", "row", "measured", "column"])
    for policy, curve in curves.items():
        for row, order in enumerate(curve.order.tolist()):
            cells = ([policy, row, m + 1, curve.names[d]] for m, d in enumerate(order) if d >= 0)
            writer.writerows(cells)
    write_whole(out / ORDER, text.getvalue().encode())
    first = next(iter(curves.values()))
    pictures = {
        CURVES: draw_curves(curves, threshold=tau),
        AREAS: draw_areas(curves),
        SEQUENCE: draw_sequence(trained.predictor, x, first, mask=mask, measured=known),
    }
    for name, figure in pictures.items():
        figure.savefig(out / name, dpi=150)
        plt.close(figure)
