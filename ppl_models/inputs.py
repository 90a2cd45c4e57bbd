"""Checks of the data and settings that a model is given."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ppl_models.errors import InputError


def count_rows(x: object, data_dim: int, argument: str = "x") -> int:
    """Return N for data of shape (N, data_dim).

    Raises
    ------
    InputError
        ``x`` is no tensor, or has another shape, or no row.
    """
    if isinstance(x, Tensor) and x.ndim == 2 and x.shape[0] and x.shape[1] == data_dim:
        return len(x)
    found = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
    cure = "reshape the data, or build model and guide with the data's own data_dim"
    raise InputError(argument, found, f"a tensor of shape (N, {data_dim}), a row a datum", cure)


def check_positive(argument: str, value: object) -> float:
    """Return a setting that is a positive, finite number.

    Raises
    ------
    InputError
        It is not.
    """
    if isinstance(value, int | float) and 0 < value < math.inf:
        return float(value)
    cure = "give a standard deviation in the units of x"
    raise InputError(argument, str(value), "a positive number", cure)


def check_count(argument: str, value: int, least: int = 1) -> None:
    """Check a setting that counts something.

    Raises
    ------
    InputError
        It is no whole number of at least ``least``.
    """
    if not isinstance(value, int) or value < least:
        expected = f"a whole number of at least {least}"
        raise InputError(argument, str(value), expected, "count what the data have")


def check_form(form: str, known: tuple[str, ...]) -> None:
    """Raise an InputError for a form that a model does not have."""
    if form not in known:
        wanted, cure = " or ".join(map(repr, known)), "take one of them: densities are the same"
        raise InputError("form", repr(form), wanted, cure)


def check_widths(
    widths: Sequence[int], argument: str = "hidden_dims", least: int = 1
) -> tuple[int, ...]:
    """Return the widths of a network's hidden layers, first to last.

    Raises
    ------
    InputError
        They are no sequence of whole numbers of at least ``least``.
    """
    if isinstance(widths, Sequence) and all(isinstance(w, int) and w >= least for w in widths):
        return tuple(widths)
    expected = f"a sequence of whole numbers of at least {least}"
    cure = "give the width of each hidden layer: (128,) for one, (64, 64) for two"
    raise InputError(argument, repr(widths), expected, cure)


def check_levels(x: Tensor, count: int, what: str) -> None:
    """Check data that are to be classes or levels, of any dtype.

    Raises
    ------
    InputError
        One of them is not a whole number from 0 to ``count`` - 1.
    """
    whole = not x.is_floating_point() or bool((x == x.round()).all())
    if not (whole and x.min() >= 0 and x.max() < count):
        found = f"numbers from {x.min():g} to {x.max():g}{'' if whole else ', not all whole'}"
        cure = f"number them from 0, or build the likelihood with more {what}"
        raise InputError("x", found, f"{what}, whole numbers from 0 to {count - 1}", cure)


def spread_out(x: Tensor, num_centres: int, seed: int) -> Tensor:
    """Return ``num_centres`` rows of x (N, D), each drawn far from those before: (K, D).

    Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.
    """
    generator = torch.Generator(x.device).manual_seed(seed)
    first = torch.randint(len(x), (1,), generator=generator, device=x.device)
    centres = x[first]
    while len(centres) < num_centres:
        square = torch.cdist(x, centres).amin(1).square()
        square = square if square.sum() > 0 else torch.ones_like(square)
        centres = torch.cat([centres, x[torch.multinomial(square, 1, generator=generator)]])
    return centres
