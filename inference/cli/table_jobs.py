"""What commands of tables read and print: measurements, advice, replays."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from inference.cli.progress import progress
from inference.cli.track_jobs import make_folder
from ppl_models.errors import InputError, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from inference.tasks.acquisition import Advice, Curve, Reward, TrainedTable

CURVE, ORDER = "curve.csv", "order.csv"
CURVES, AREAS, SEQUENCE = "curves.png", "areas.png", "sequence.png"


# -- one person ------------------------------------------------------------------------------------


def read_observed(trained: TrainedTable, given: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Read measurements NAME=VALUE: values and mask (D,); say what training never saw.

    Raises
    ------
    InputError
        No such column, one given twice, or a value that it cannot have.
    """
    import torch

    names = [column.name for column in trained.design.columns]
    x, mask = torch.full((len(names),), math.nan), torch.zeros(len(names), dtype=torch.bool)
    for text in given:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise InputError("--observed", repr(text), "NAME=VALUE", f"{text}=20")
        if name not in names:
            raise unknown("--observed", name, names)
        place = names.index(name)
        if mask[place]:
            raise InputError("--observed", f"{name} twice", "each column once", "leave one out")
        x[place], mask[place] = _number(trained, name, value), True
    return x, mask


def _number(trained: TrainedTable, name: str, text: str) -> float:
    """Return the number that a value of a column stands for."""
    from ppl_models.data import read_value

    column = next(c for c in trained.design.columns if c.name == name)
    number = read_value(column, text, f"--observed {name}")
    low, high = trained.ranges.get(name, (-math.inf, math.inf))
    if not low <= number <= high:
        words = f"{name}={number:g} is outside of what training had, {low:g} to {high:g}"
        typer.echo(f"note: {words}: what follows from it is a guess", err=True)
    return number


def show_advice(
    trained: TrainedTable, x: Tensor, mask: Tensor, *, tau: float | None, **settings: Any
) -> None:
    """Print what is expected of every other column, and what to measure next."""
    advice = _advice(trained, x, mask, **settings)
    typer.echo(advice_table(trained, advice))
    if advice.next is None:
        typer.echo("everything that can be measured was: nothing is left")
    else:
        gain = advice[advice.next].gain
        text = f"measure next: {advice.next}, which takes away {100 * gain:.0f} % of the"
        typer.echo(f"{text} expected squared error (RMSE now {advice.rmse:.2f}, standard units)")
    if tau is not None:
        share = 100 * advice.sure(tau)
        typer.echo(f"the RMSE over all columns is below {tau:g} with probability {share:.0f} %")


def advice_table(trained: TrainedTable, advice: Advice) -> str:
    """Return a line for each column."""
    rows = [("column", "expected", "80 % interval", "measuring it takes away")]
    for column, told in zip(trained.design.columns, advice.columns, strict=True):
        value = f"{told.value:.4g} {column.unit}".rstrip()
        if column.levels:
            value = column.levels[round(told.value)]
        if told.measured:
            rows.append((told.name, value, "measured", ""))
            continue
        sure = f"probability {100 * (told.probability or 0):.0f} %"
        if told.low is not None:
            sure = f"{told.low:.4g} to {told.high:.4g}"
        rows.append((told.name, value, sure, f"{100 * told.gain:.0f} %"))
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = ("  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)) for r in rows)
    return "\n".join(line.rstrip() for line in lines)


def _advice(
    trained: TrainedTable,
    x: Tensor,
    mask: Tensor,
    *,
    policy: str,
    targets: Sequence[str],
    samples: int,
    seed: int,
) -> Advice:
    from inference.tasks.acquisition import advise

    reward = reward_of(trained, policy, targets)
    return advise(trained.predictor, x, mask, reward=reward, num_samples=samples, seed=seed)


def ask(
    trained: TrainedTable,
    x: Tensor,
    mask: Tensor,
    *,
    tau: float | None,
    sure: float,
    **settings: Any,
) -> None:
    """Ask for value after value, until one is sure enough, nothing is left, or no answer comes."""
    while True:
        advice = _advice(trained, x, mask, **settings)
        if advice.next is None:
            typer.echo("everything that can be measured was")
            break
        if tau is not None and advice.sure(tau) >= sure:
            share = f"{100 * advice.sure(tau):.0f} %"
            typer.echo(f"sure enough: the RMSE is below {tau:g} with probability {share}")
            break
        if not _ask_once(trained, advice, x, mask):
            break
    typer.echo(advice_table(trained, advice))


def _ask_once(trained: TrainedTable, advice: Advice, x: Tensor, mask: Tensor) -> bool:
    """Ask for the next value, or another NAME=VALUE; False for an empty answer."""
    assert advice.next is not None
    told = advice[advice.next]
    hint = f"{told.low:.4g} to {told.high:.4g} expected" if told.low is not None else "a level"
    while True:
        try:
            answer = input(f"{advice.next} ({hint}; NAME=VALUE for another; nothing to stop): ")
        except EOFError:
            return False
        if not answer.strip():
            return False
        text = answer if "=" in answer else f"{advice.next}={answer}"
        try:
            value, there = read_observed(trained, [text])
        except InputError as error:
            typer.echo(str(error), err=True)
            continue
        x[there], mask[there] = value[there], True
        return True


# -- a table ---------------------------------------------------------------------------------------


def replay(
    trained: TrainedTable,
    file: Path,
    policies: Sequence[str],
    out: Path,
    *,
    targets: Sequence[str],
    known: Sequence[str],
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
            step(f"measuring {len(read.x)} rows by {policy}", done)
            curve = acquire(
                trained.predictor,
                read.x,
                reward,
                mask=read.mask,
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
    _write(trained, read.x, read.mask, curves, known, tau, out)
    typer.echo(f"saved: {out}")


def reward_of(trained: TrainedTable, policy: str, targets: Sequence[str]) -> Reward:
    """Return the reward that a policy's name stands for.

    Raises
    ------
    InputError
        The run keeps no fixed order, or targets are given to a policy that knows none.
    """
    from inference.tasks import acquisition as task

    if targets and policy not in ("lookahead", "information"):
        cure = "--policy lookahead, or --policy information"
        raise InputError("--target", f"--policy {policy}", "a policy that knows targets", cure)
    if policy == "lookahead":
        return task.LookAhead(targets)
    if policy == "information":
        return task.TargetInformation(targets) if targets else task.Information()
    if policy == "fixed":
        if not trained.order:
            cure = "train it again, or choose --policy lookahead"
            raise InputError("--policy", "a run without an order", "one of `ppl fit-table`", cure)
        return task.FixedOrder(trained.order)
    return task.Variance() if policy == "variance" else task.RandomOrder()


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
