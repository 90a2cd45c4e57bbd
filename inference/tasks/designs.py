"""What files of trained pairs have in common: settings that nothing is trusted in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from inference.checkpoint import Checkpoint, load, save
from inference.errors import CheckpointError
from ppl_models.errors import InputError

LARGEST = 100_000
"""Largest size in a file's settings; with it, settings alone fill neither memory nor an hour."""
_MOST_LAYERS = 100
_SMALLER = "build it smaller"


class Buildable(Protocol):
    """What a pair is built from."""

    def pair(self) -> tuple[Any, Any]:
        """Build model and guide, untrained."""

    def as_json(self) -> dict[str, Any]:
        """Return the settings as JSON holds them."""


AnyDesign = TypeVar("AnyDesign", bound=Buildable)


def outline(design: Buildable) -> tuple[nn.Module, nn.Module]:
    """Build a pair without memory for its numbers."""
    with torch.device("meta"):
        pair: tuple[nn.Module, nn.Module] = design.pair()
    return pair


def save_pair(
    target: Path,
    design: Buildable,
    model: nn.Module,
    guide: nn.Module,
    name: str,
    extra: Mapping[str, Any] | None,
) -> None:
    """Write a pair, with its design as settings, under a model's name.

    Raises
    ------
    InputError
        The design is not that of this pair: nothing is written.
    CheckpointError
        The file cannot be written.
    """
    built = shapes_of(*outline(design))
    if shapes_of(model, guide) != built:
        wrong = [part for part, shape in shapes_of(model, guide) if (part, shape) not in built]
        found = f"another {', '.join(wrong[:4])}" + " ..." * (len(wrong) > 4)
        raise InputError("design", found, "that of this pair", "give the design that built it")
    save(target, {"model": model, "guide": guide}, model=name, config=design.as_json(), extra=extra)


def load_pair(
    path: Path, read: Callable[[Checkpoint], AnyDesign], name: Callable[[AnyDesign], str]
) -> tuple[AnyDesign, Any, Any, Checkpoint]:
    """Read a pair that `save_pair` wrote, in evaluation mode; nothing in the file is trusted.

    Parameters
    ----------
    path
    read
        Makes the design of what the file holds, or raises InputError.
    name
        Of the model that a design is of.

    Raises
    ------
    CheckpointError
        Settings that are none, of another model, or of more or fewer numbers than the file has; or
        a weight is not finite, and is named.
    """
    kept = load(path)
    try:
        design = read(kept)
        needed = sum(math.prod(shape) for _, shape in shapes_of(*outline(design)))
        held = sum(tensor.numel() for tensor in kept.tensors.values())
        if name(design) != kept.model or needed != held:
            found = f"settings of a {name(design)} of {needed:,} numbers, and a {kept.model}"
            raise CheckpointError(path, f"{found} of {held:,}", "one model", "get the file again")
        model, guide = design.pair()
    except InputError as error:
        _, found, expected, cure = error.args
        raise CheckpointError(path, f"{error.argument}: {found}", expected, cure) from error
    load(path, into={"model": model, "guide": guide}, model=kept.model)
    check_finite_weights(path, kept)
    return design, model.eval(), guide.eval(), kept


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
