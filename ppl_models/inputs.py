"""Checks of the data a user hands to a story."""

from __future__ import annotations

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
    seen = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
    cure = "reshape the data, or build model and guide with the data's own data_dim"
    raise InputError(argument, seen, f"a tensor of shape (N, {data_dim}), a row a datum", cure)
