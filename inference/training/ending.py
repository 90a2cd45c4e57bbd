"""How training ended: what a reader of its summary should know."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from inference.training.run import figure_of
from inference.training.run_folder import Progress, bound_of

LEAST = 5  # reports from which a trend is read
SIGNIFICANT = 3.0  # standard errors of the slope
SHARE = 0.1  # of the bound's own standard error: a smaller rise changes nothing that is reported


def mark_of(tensor: Tensor, mark: int = 0) -> int:
    """Return a number that another value of the tensor would almost surely not have."""
    numbers = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    return zlib.crc32(numbers.numpy().data, mark)


def marks(named: dict[str, nn.Parameter]) -> dict[str, int]:
    """Return the mark of each of a pair's parameters."""
    return {name: mark_of(parameter) for name, parameter in named.items()}


def unmoved(before: dict[str, int], after: dict[str, int]) -> str:
    """Say which parameters training has left as they were; empty if it moved all."""
    still = [name for name in before if before[name] == after[name]]
    if not still:
        return ""
    why = (
        "no gradient reached them (`check` says which), or the optimizer left them out, or its "
        "rate is too small"
    )
    if len(still) == len(before):
        return f"Nothing was learned: no weight of {_roles(before)} moved: {why}."
    whole = [role for role in ("model", "guide") if _all_still(role, before, still)]
    if whole:
        return f"No weight of the {whole[0]} moved: {why}."
    more = f" and {len(still) - 8} more" if len(still) > 8 else ""
    return f"These weights never moved: {', '.join(still[:8])}{more}: {why}."


def _roles(names: dict[str, int]) -> str:
    roles = dict.fromkeys(name.partition(".")[0] for name in names)
    return " or ".join(f"the {role}" for role in roles)


def _all_still(role: str, before: dict[str, int], still: list[str]) -> bool:
    mine = {name for name in before if name.startswith(f"{role}.")}
    return bool(mine) and mine <= set(still)


def still_rising(at: Progress) -> str:
    """Say that the bound was still rising when training ended; empty if that cannot be said.

    The bounds of the last third of the reports (five at least) are on the same observations with
    the same noise, so what scatters them is the optimiser. They rise if a line through them has a
    slope of more than three of its standard errors, widened for residuals that follow one another;
    if its second half rises by at least a quarter of the whole; and if the rise is more than a
    tenth of the bound's own standard error, below which no report would change.
    """
    if len(at.history) < LEAST:
        return ""
    last = at.history[-max(LEAST, len(at.history) // 3) :]
    bounds = [bound_of(row) for row in last]
    epochs = [float(row["epoch"]) for row in last]
    name = figure_of(last[-1])
    error = last[-1].get(f"validation_{name}_se", last[-1][f"{name}_se"])
    rise = risen(epochs, bounds)
    if not rise > SHARE * (error if math.isfinite(error) else 0.0):
        return ""
    span = int(epochs[-1] - epochs[0])
    return (
        f"The {name.replace('_', ' ')} was still rising when training ended, by {rise:.2g} nats "
        f"over the last {span:,} epochs: train for longer, or at a higher rate."
    )


def risen(epochs: Sequence[float], bounds: Sequence[float]) -> float:
    """Return by how much bounds have risen along their line; 0 if they cannot be said to rise."""
    t, y = np.asarray(epochs) - np.mean(epochs), np.asarray(bounds)
    if not np.isfinite(y).all():
        return 0.0
    slope = float(t @ y / (t @ t))
    rise = slope * (t[-1] - t[0])
    half = len(y) // 2
    late = y[-max(1, half // 2) :].mean() - y[half - 1 : half + 1].mean()
    rounding = 1e-6 * abs(y).max()  # float32 sums
    significant = slope > SIGNIFICANT * _slope_error(t, y - y.mean() - slope * t)
    return rise if significant and late > rise / 4 and rise > rounding else 0.0


def _slope_error(t: np.ndarray, residuals: np.ndarray) -> float:
    """Return the standard error of a least-squares slope, for residuals of an AR(1) process."""
    variance = residuals @ residuals / (len(t) - 2)
    follow = residuals[1:] @ residuals[:-1] / max(residuals @ residuals, 1e-300)
    rho = min(max(follow, 0.0), 0.9)
    return math.sqrt(variance / (t @ t) * (1 + rho) / (1 - rho))


def how_it_ended(at: Progress, before: dict[str, int], after: dict[str, int]) -> Iterator[str]:
    """Yield what is said of weights that did not move, and of a bound that still does."""
    if at.step and (said := unmoved(before, after)):
        yield said
    elif said := still_rising(at):
        yield said
