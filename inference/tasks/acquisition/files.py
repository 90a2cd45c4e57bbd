"""Models of tables on disk: a pair, its columns, and what it was trained on.

>>> save_table("runs/mine", design, model, guide, extra)  # runs/mine/table.safetensors
>>> model, guide, *_ = load_table("runs/mine")

The file holds tensors, and in its header the `TableDesign` as JSON. Nothing in a stranger's file is
imported or run; what would not fit into the tensors that are there is not built.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from guides.acquisition import PartialVAEGuide
from inference.checkpoint import Checkpoint
from inference.randomness import derive, seeded
from inference.tasks.acquisition.predictor import PairPredictor
from inference.tasks.designs import check_settings_sizes, load_pair, save_pair
from ppl_models.acquisition import PartialVAE
from ppl_models.errors import InputError, unknown
from ppl_models.likelihoods import Column, Columns

FILE = "table.safetensors"
NAME = "PartialVAE"
_CURE = "give a file that save_table or `ppl fit-table` wrote"
_OPTIONS = {
    "options": ("hidden_dims", "linear"),
    "guide_options": ("reader", "embedding_dim", "set_dim", "hidden_dims", "covariance"),
}
_MOST_PADDED = 10**7
"""Columns times the levels of the largest one: tables of levels are padded to it."""


@dataclass(frozen=True)
class TableDesign:
    """What a pair for a table is built from.

    Parameters
    ----------
    columns
        Of the table.
    latent_dim
        L.
    options, guide_options
        Other arguments of `PartialVAE` and its guide, as JSON holds them.
    """

    columns: tuple[Column, ...]
    latent_dim: int = 8
    options: Mapping[str, Any] = field(default_factory=dict)
    guide_options: Mapping[str, Any] = field(default_factory=dict)

    def pair(self, seed: int = 0) -> tuple[PartialVAE, PartialVAEGuide]:
        """Build model and guide, untrained.

        Raises
        ------
        InputError
            Settings that one of them does not take.
        """
        likelihood, size = Columns(self.columns), len(self.columns)
        try:
            with seeded(derive(seed, "weights")):
                model = PartialVAE(size, self.latent_dim, likelihood=likelihood, **self.options)
                return model, PartialVAEGuide(model, **self.guide_options)
        except InputError:
            raise
        except (TypeError, ValueError, RuntimeError, ArithmeticError, AttributeError) as error:
            found = f"{dict(self.options)}, of the guide {dict(self.guide_options)} ({error})"
            cure = "see help(ppl_models.PartialVAE)"
            raise InputError("options", found, f"what {NAME} takes", cure) from error

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, config: Any) -> TableDesign:
        """Read the settings of a file, and trust nothing in it.

        Raises
        ------
        InputError
            A setting that is missing, unknown, or of another kind or size than it can be.
        """
        kinds = {"columns": list, "latent_dim": int, "options": dict, "guide_options": dict}
        if not isinstance(config, dict) or config.keys() != kinds.keys():
            found = f"{sorted(config) if isinstance(config, dict) else type(config).__name__}"
            raise InputError("settings", found, ", ".join(kinds), _CURE)
        for name, kind in kinds.items():
            if not isinstance(config[name], kind):
                raise InputError(name, f"{config[name]!r}", f"a {kind.__name__}", _CURE)
        for name, known in _OPTIONS.items():
            for option in config[name]:
                if option not in known:
                    raise unknown(name, option, known)
        sizes = {name: config[name] for name in ("latent_dim", *_OPTIONS)}
        check_settings_sizes(sizes, "settings")
        columns = tuple(_column(given) for given in config["columns"])
        padded = len(columns) * max((len(column.levels) for column in columns), default=0)
        if padded > _MOST_PADDED:
            expected = f"at most {_MOST_PADDED:,}"
            raise InputError("levels", f"{padded:,} of all columns, padded", expected, _CURE)
        return cls(**{**config, "columns": columns})


def _column(given: Any) -> Column:
    """Read a column of a file's settings.

    Raises
    ------
    InputError
        It is none.
    """
    kinds: dict[str, Any] = {"name": str, "kind": str, "levels": list, "unit": str}
    kinds |= dict.fromkeys(("lower", "upper"), float | int | None)
    whole = isinstance(given, dict) and given.keys() == kinds.keys()
    if not whole or not all(isinstance(given[name], kind) for name, kind in kinds.items()):
        raise InputError("columns", f"{given!r}"[:80], "columns of a table", _CURE)
    if not all(isinstance(level, str) for level in given["levels"]):
        raise InputError("levels", f"{given['levels']!r}"[:80], "names of levels", _CURE)
    limits = [given[name] for name in ("lower", "upper") if given[name] is not None]
    if not all(map(math.isfinite, limits)):
        raise InputError("lower, upper", f"{limits}", "finite numbers", _CURE)
    return Column(**{**given, "levels": tuple(given["levels"])})


class TrainedTable(NamedTuple):
    """A trained pair in evaluation mode, what it was built from, and what its training left."""

    model: PartialVAE
    guide: PartialVAEGuide
    design: TableDesign
    path: Path
    order: tuple[str, ...]
    """Columns in the one order that was best for the rows kept back: the first few, if many."""
    ranges: Mapping[str, tuple[float, float]]
    """Least and greatest value in training, of columns of numbers."""

    @property
    def predictor(self) -> PairPredictor:
        """What predicts the columns that were not measured.

        It reads values at most the width of the training's range outside of that range.
        """
        limits = torch.tensor([[-math.inf], [math.inf]]).repeat(1, len(self.design.columns))
        for d, column in enumerate(self.design.columns):
            if column.name in self.ranges:
                low, high = self.ranges[column.name]
                limits[:, d] = torch.tensor([2 * low - high, 2 * high - low])
        return PairPredictor(self.model, self.guide, limits=limits)


def save_table(
    path: str | os.PathLike[str],
    design: TableDesign,
    model: nn.Module,
    guide: nn.Module,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write a pair so that `load_table` and ``ppl acquire`` can read it.

    Parameters
    ----------
    path
        A run's folder, or a file ``*.safetensors``.
    design
        What the pair was built from.
    model, guide
    extra
        More that JSON holds: ``order`` and ``ranges`` of `TrainedTable`, how it was trained.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        The design is not that of this pair: nothing is written.
    CheckpointError
        The file cannot be written.
    """
    target = Path(path)
    target = target if target.suffix == ".safetensors" else target / FILE
    save_pair(target, design, model, guide, NAME, extra)
    return target


def load_table(run: str | os.PathLike[str], *, argument: str = "run") -> TrainedTable:
    """Read a pair that `save_table` wrote.

    Parameters
    ----------
    run
        A run's folder, or a file.
    argument
        What an error calls ``run``.

    Raises
    ------
    CheckpointError
        It is damaged, not of a table, or too large for its tensors; or a weight is not finite, and
        is named.
    InputError
        No such file or folder.
    """
    path = _find(Path(run), argument)
    design, model, guide, kept = load_pair(path, _design, lambda design: NAME)
    names = [column.name for column in design.columns]
    return TrainedTable(
        model, guide, design, path, _order(kept.extra, names), _ranges(kept.extra, names)
    )


def _design(kept: Checkpoint) -> TableDesign:
    """Read the settings of a file, and what its training left."""
    design = TableDesign.from_json(kept.config)
    names = [column.name for column in design.columns]
    _order(kept.extra, names)
    _ranges(kept.extra, names)
    return design


def _order(extra: Mapping[str, Any], names: list[str]) -> tuple[str, ...]:
    order = extra.get("order", [])
    known = isinstance(order, list) and all(name in names for name in order)
    if not known or len(set(order)) < len(order):
        raise InputError("order", f"{order!r}"[:80], "names of columns, each once", _CURE)
    return tuple(order)


def _ranges(extra: Mapping[str, Any], names: list[str]) -> dict[str, tuple[float, float]]:
    found = extra.get("ranges", {})
    if not isinstance(found, dict) or not all(
        name in names
        and isinstance(ends, list)
        and len(ends) == 2
        and all(isinstance(end, float | int) and math.isfinite(end) for end in ends)
        and ends[0] <= ends[1]
        for name, ends in found.items()
    ):
        raise InputError(
            "ranges", f"{found!r}"[:80], "the least and the greatest value of columns", _CURE
        )
    return {name: (float(low), float(high)) for name, (low, high) in found.items()}


def _find(path: Path, argument: str) -> Path:
    """Return the file that is meant."""
    file = path / FILE if path.is_dir() else path
    if file.is_file():
        return file
    found = f"{path}, which has no {FILE}" if path.is_dir() else f"{path}, which is not there"
    cure = "train one: ppl fit-table TABLE.csv --out RUN"
    raise InputError(argument, found, "the folder of a run of `ppl fit-table`, or its file", cure)
