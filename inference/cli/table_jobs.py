"""What ``ppl acquire`` says of one person: measurements read, advice printed, questions asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from ppl_models.errors import InputError, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from inference.tasks.acquisition import Advice, Reward, TrainedTable


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
        name, value = _parted(text, names)
        place = names.index(name)
        if mask[place]:
            raise InputError("--observed", f"{name} twice", "each column once", "leave one out")
        x[place], mask[place] = _number(trained, name, value), True
    return x, mask


def _parted(text: str, names: Sequence[str]) -> tuple[str, str]:
    """Split NAME=VALUE, where a name may have = in it."""
    places = [place for place, letter in enumerate(text) if letter == "="]
    if not places:
        raise InputError("--observed", repr(text), "NAME=VALUE", f"write {text}=20, say")
    for place in reversed(places):
        if text[:place].strip() in names:
            return text[:place].strip(), text[place + 1 :].strip()
    raise unknown("--observed", text[: places[0]].strip(), names)


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
    levels = next(c for c in trained.design.columns if c.name == advice.next).levels
    hint = f"{told.low:.4g} to {told.high:.4g} expected" if told.low is not None else ""
    hint = hint or " or ".join(levels[:6]) + ", ..." * (len(levels) > 6)
    while True:
        try:
            answer = input(f"{advice.next} ({hint}; NAME=VALUE for another; nothing to stop): ")
        except EOFError:
            return False
        if not answer.strip():
            return False
        try:
            text = answer if "=" in answer else f"{advice.next}={answer}"
            value, there = read_observed(trained, [text])
        except InputError as error:
            typer.echo(str(error), err=True)
            continue
        x[there], mask[there] = value[there], True
        return True


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
            cure = "go on with `ppl fit-table --resume`, or choose --policy lookahead"
            raise InputError("--policy", "a run without a fixed order", "one that ended", cure)
        return task.FixedOrder(trained.order)
    return task.Variance() if policy == "variance" else task.RandomOrder()
