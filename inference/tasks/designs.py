"""What files of trained pairs have in common: settings that nothing is trusted in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from inference.checkpoint import Checkpoint
from inference.errors import CheckpointError
from ppl_models.errors import InputError

LARGEST = 100_000
"""Largest size in a file's settings; with it, settings alone fill neither memory nor an hour."""
_MOST_LAYERS = 100
_SMALLER = "build it smaller"


def shapes_of(model: nn.Module, guide: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    """Return the name and shape of every number that a file of the pair holds."""
    pair = {"model": model, "guide": guide}
    return [
        (f"{part}.{name}", tuple(tensor.shape))
        for part, module in pair.items()
        for name, tensor in module.state_dict().items()
    ]


def check_settings_sizes(value: Any, name: str) -> None:
    """Look at every number in settings, however deep.

    Raises
    ------
    InputError
        One is negative or larger than `LARGEST`, or a list has more entries than a network layers.
    """
    if isinstance(value, dict | list):
        rows = value.items() if isinstance(value, dict) else ((name, each) for each in value)
        if isinstance(value, list) and len(value) > _MOST_LAYERS:
            raise InputError(name, f"{len(value)} of them", f"at most {_MOST_LAYERS}", _SMALLER)
        for inner, each in rows:
            check_settings_sizes(each, str(inner))
    most = _MOST_LAYERS if name == "num_layers" else LARGEST
    if isinstance(value, int | float) and not 0 <= value <= most:
        raise InputError(name, f"{value}", f"a number from 0 to {most:,}", _SMALLER)


def check_finite_weights(path: Path, kept: Checkpoint) -> None:
    """Raise CheckpointError for the first weight that is NaN or infinite."""
    for name, tensor in kept.tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            bad = int((~tensor.isfinite()).sum())
            found = f"{name} holds {bad} of {tensor.numel()} numbers that are not finite"
            raise CheckpointError(path, found, "finite weights", "train it again, or get another")
