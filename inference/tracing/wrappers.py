"""Distributions inside others (`to_event`, `mask`, `expand`), and which of their entries count."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

import torch
from pyro.distributions import ExpandedDistribution, MaskedDistribution
from torch import Tensor
from torch.distributions import Independent

WRAPPERS = (Independent, MaskedDistribution, ExpandedDistribution)


def layers(fn: Any, through: Any = object) -> Iterator[Any]:
    """Yield a distribution and those inside it, the outermost first.

    Parameters
    ----------
    fn
        A distribution.
    through
        The classes to look inside of; by default whatever has a ``base_dist``.
    """
    yield fn
    while isinstance(fn, through) and hasattr(fn, "base_dist"):
        fn = fn.base_dist
        yield fn


def unwrapped(fn: Any, through: Any = object) -> Any:
    """Return the innermost of the `layers` of a distribution."""
    *_, inner = layers(fn, through)
    return inner


def mask_within(fn: Any) -> Tensor | None:
    """Return which entries of its value a distribution counts; None if all.

    A distribution of sequences says so itself: ``mask_frames`` (..., T), the frames that exist, and
    ``observed`` (..., T, D), the numbers that were seen.
    """
    masked = (f for f in layers(fn, WRAPPERS) if isinstance(f, MaskedDistribution))
    inside = reduce(both, (widen(f._mask, f.event_dim) for f in masked), None)
    inner = unwrapped(fn, WRAPPERS)
    frames = widen(getattr(inner, "mask_frames", None), len(inner.event_shape) - 1)
    return both(both(inside, frames), getattr(inner, "observed", None))


def both(one: Any, other: Any) -> Tensor | None:
    """Return where two masks hold together; None, or True, is no mask."""
    masks = [
        torch.as_tensor(mask) for mask in (one, other) if mask is not None and mask is not True
    ]
    return None if not masks else masks[0] if len(masks) == 1 else masks[0] & masks[1]


def widen(value: Any, dims: int) -> Any:
    """Let a tensor over the batch speak for event dims to its right."""
    if not isinstance(value, Tensor) or not value.dim():
        return value
    return value.reshape(value.shape + (1,) * dims)
