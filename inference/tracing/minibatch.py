"""What a batch stands for: the scale of its sites, and the size that a bound is divided by."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from inference.errors import PairError
from inference.tracing.handlers import PlateScale
from inference.tracing.layout import Layout


def scaled(
    model: Any, guide: Any, shape: Layout, batch: int, data_size: int | None
) -> tuple[Any, Any, int]:
    """Scale a pair's sites to the data set; return it, and what to divide its bound by."""
    size, frame = whole_size(shape, batch, data_size), shape.plate
    if frame is None:
        return model, guide, size
    if frame.size == batch and frame.full_size in (None, batch) and (shape.local or size == batch):
        return model, guide, batch  # N / B of every site, divided by N
    scale = PlateScale(frame.name, size, shape.outside)
    return scale(model), scale(guide), size


def whole_size(shape: Layout, batch: int, data_size: int | None) -> int:
    """Return N, by which the bound is divided; 1 without a data plate: nothing is counted there.

    Raises
    ------
    PairError
        A batch of a data set, but no data plate.
    """
    frame = shape.plate
    if frame is not None:
        if frame.full_size not in (None, frame.size):
            return int(frame.full_size)
        batch = frame.size
    if data_size is not None and data_size != batch and frame is None:
        raise PairError(
            None,
            f"a batch of {batch} of {data_size} observations, and no plate of size {batch}",
            "a plate over the observations, to weigh the batch by",
            "write `with pyro.plate('data', len(x)):` around what is there once a datum, "
            "or pass all data as one batch",
        )
    if frame is None:
        return 1
    return batch if data_size is None else max(batch, data_size)


def precision(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.dtype:
    """Return the dtype of the data: of the first tensor that is no integers."""
    values = (v for v in (*args, *kwargs.values()) if isinstance(v, Tensor))
    return next((v.dtype for v in values if v.is_floating_point()), torch.get_default_dtype())
