"""What a table's training data say of its columns, and the checks of its values."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ppl_models.data.column import Column
from ppl_models.errors import InputError
from ppl_models.inputs import count_rows

WHOLE = ("count", "binary", "categorical", "ordinal")
CURES = {
    "count": 'take kind="real", or leave such values out with the mask',
    "positive": 'take kind="real", or leave such values out with the mask',
    "real": "mask = ~x.isnan(), so that missing values are left out",
    "censored": "mask = ~x.isnan(), so that missing values are left out",
}


def check_table(columns: Sequence[Column], x: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mask (N, D) of training data, of which every column has some.

    Raises
    ------
    InputError
        Another shape, or a column of which nothing was observed.
    """
    count_rows(x, len(columns))
    if mask is None:
        return torch.ones_like(x, dtype=torch.bool)
    if mask.shape != x.shape or mask.dtype is not torch.bool:
        found, cure = f"{mask.dtype} of shape {tuple(mask.shape)}", "mask = ~x.isnan()"
        raise InputError("mask", found, f"booleans of shape {tuple(x.shape)}", cure)
    for column, seen in zip(columns, mask.any(0).tolist(), strict=True):
        if not seen:
            found, cure = f"no value of column {column.name!r}", "leave the column out"
            raise InputError("mask", found, "one observed value of each column, or more", cure)
    return mask


def check_support(columns: Sequence[Column], x: Tensor, mask: Tensor | None) -> None:
    """Check that every observed value (..., D) is of its column's kind.

    Raises
    ------
    InputError
        One is not: the first such column is named.
    """
    least = x.new_tensor([_least(c) for c in columns])
    most = x.new_tensor([c.num_classes - 1 if c.levels else torch.inf for c in columns])
    whole = torch.tensor([c.kind in WHOLE for c in columns], device=x.device)
    good = x.isfinite() & (x >= least) & (x <= most) & (~whole | (x == x.round()))
    bad = ~good if mask is None else mask & ~good
    if not bad.any():
        return
    at = int(bad.flatten(0, -2).any(0).nonzero()[0])
    value = x[..., at][bad[..., at].expand(x.shape[:-1])][0]
    column = columns[at]
    cure = CURES.get(column.kind, "number them from 0, name all levels, or mask others out")
    if value.isnan():
        cure = CURES["real"]
    raise InputError("x", f"{value:g} in column {column.name!r}", _expected(column), cure)


def _least(column: Column) -> float:
    if column.kind == "positive":
        return torch.finfo(torch.float32).tiny
    return 0.0 if column.kind in WHOLE else -torch.inf


def _expected(column: Column) -> str:
    if column.levels:
        return f"{column.kind}: whole numbers from 0 to {column.num_classes - 1}"
    return {
        "positive": "positive: numbers above 0",
        "count": "counts: 0, 1, 2, ...",
    }.get(column.kind, f"{column.kind}: finite numbers where the mask is True")


def summarise(columns: Sequence[Column], x: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Return the constants of `Columns` that training data (N, D) give, by their names."""
    found: dict[str, list[Tensor]] = {}
    for d, column in enumerate(columns):
        for name, value in _summarise_column(column, x[mask[:, d], d]).items():
            found.setdefault(name, []).append(value.reshape(-1))
    return {name: torch.cat(values) for name, values in found.items()}


def _summarise_column(column: Column, x: Tensor) -> dict[str, Tensor]:
    """Return what the observed values (n,) of one column give."""
    if column.kind in ("binary", "categorical"):
        return _of_classes(column, x)
    logs = {"positive": torch.log, "count": torch.log1p}.get(column.kind, torch.clone)(x)
    shift, scale = logs.mean(), _deviation(logs)
    fill = {"positive": shift.exp(), "count": shift * 0, "ordinal": shift * 0}
    found = {"shift": shift, "scale": scale, "fill": fill.get(column.kind, shift)}
    found["spread"] = _deviation(x)
    if column.kind == "count":
        excess = (x.var(unbiased=False) - x.mean()).clamp_min(1e-6)
        found["log_dispersion"] = (x.mean().square() / excess).clamp(0.1, 100.0).log()
    if column.kind == "ordinal":
        below = _frequencies(x, column.num_classes).cumsum(0)[:-1]
        found["cuts"] = to_steps(below.logit())
    return found


def _of_classes(column: Column, x: Tensor) -> dict[str, Tensor]:
    p = torch.bincount(x.long(), minlength=column.num_classes).double() / len(x)
    smooth = _frequencies(x, column.num_classes).log()
    zero = p[0] * 0
    found = {"shift": zero, "scale": zero + 1, "fill": zero}
    spread = (1 - p.square().sum()).sqrt()
    if column.kind == "binary":
        spread, found["bit_logits"] = spread / 2**0.5, smooth[1] - smooth[0]
        return found | {"spread": spread if spread > 0 else zero + 1}
    spread = spread if spread > 0 else zero + 1
    return found | {"spread": spread.expand(len(p)), "class_logits": smooth}


def _frequencies(x: Tensor, num_classes: int) -> Tensor:
    """Return the share of each class, half a row added to every one."""
    counts = torch.bincount(x.long(), minlength=num_classes).double() + 0.5
    return counts / counts.sum()


def _deviation(x: Tensor) -> Tensor:
    """Return the standard deviation, or 1 where all values are the same but for rounding."""
    deviation = x.std(unbiased=False)
    return torch.where(deviation > 1e-6 * x.abs().mean(), deviation, 1.0)


LEAST_STEP = 1e-3
"""Between two cutpoints of an ordinal column, in logits."""


def to_steps(cuts: Tensor) -> Tensor:
    """Return the parameters of these cutpoints: the first, and the way to each next one."""
    apart = (cuts.diff() - LEAST_STEP).clamp_min(LEAST_STEP)
    return torch.cat([cuts[:1], apart + torch.log(-torch.expm1(-apart))])
