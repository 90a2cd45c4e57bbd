"""A small table of all kinds of columns, and a run of it that nobody had to train."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inference.tasks.acquisition import TableDesign, save_table
from ppl_models.likelihoods import Column

COLUMNS = (
    Column("age", unit="years"),
    Column("crp", "positive"),
    Column("visits", "count"),
    Column("sex", "binary", ("f", "m")),
    Column("blood", "categorical", ("0", "A", "B")),
    Column("pain", "ordinal", ("none", "some", "much")),
    Column("r500", "censored", upper=60.0, unit="dB"),
)
NAMES = [column.name for column in COLUMNS]
OPTIONS = {"hidden_dims": [6], "linear": True}
GUIDE_OPTIONS = {"set_dim": 8, "embedding_dim": 3, "hidden_dims": [6], "covariance": "full"}
DESIGN = TableDesign(COLUMNS, 2, OPTIONS, GUIDE_OPTIONS)
ORDER = ["r500", "age", "pain", "sex", "crp", "blood", "visits"]
RANGES = {"age": [20.0, 80.0], "crp": [0.1, 30.0], "visits": [0, 9], "r500": [-10.0, 60.0]}


def rows(size: int = 40, seed: int = 0, missing: float = 0.2) -> tuple[Tensor, Tensor]:
    """Rows (N, 7) that depend on one number each, with gaps that hold NaN; and the mask."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(size, 1, generator=generator)
    near = z + 0.5 * torch.randn(size, 7, generator=generator)
    level = (near + 1.5).floor().clamp(0, 2)
    columns = (
        (50 + 10 * near[:, 0]).clamp(20, 80),
        near[:, 1].exp(),
        near[:, 2].exp().floor(),
        (near[:, 3] > 0).float(),
        level[:, 4],
        level[:, 5],
        (30 + 20 * near[:, 6]).clamp(-10, 60),
    )
    mask = torch.rand(size, 7, generator=generator) >= missing
    return torch.stack(columns, 1).where(mask, torch.nan), mask


def saved(folder: Path, *, extra: dict[str, Any] | None = None, seed: int = 0) -> Path:
    """Save a pair that learned nothing but the units of the table; return the file."""
    model, guide = DESIGN.pair(seed)
    model.start_from(*rows())
    return save_table(
        folder, DESIGN, model, guide, {"order": ORDER, "ranges": RANGES} if extra is None else extra
    )


def write(
    path: str | Path, x: Tensor, header: list[str] | None = NAMES, names: Any = NAMES
) -> Path:
    """Write rows of the columns in ``names`` as CSV, gaps as empty cells."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if header is not None:
            writer.writerow(header)
        for row in x.tolist():
            writer.writerow(
                [_cell(COLUMNS[NAMES.index(name)], row[NAMES.index(name)]) for name in names]
            )
    return Path(path)


def _cell(column: Column, value: float) -> str:
    if value != value:
        return ""
    return column.levels[int(value)] if column.levels else f"{value:.6g}"
