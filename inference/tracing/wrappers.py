"""Distributions inside others (`to_event`, `mask`, `expand`), and which of their entries count."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

import torch
from pyro.distributions import DiscreteHMM, ExpandedDistribution, MaskedDistribution
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


def mask_within(fn: Any, seen: bool = True) -> Tensor | None:
    """Return which entries of its value a distribution counts; None if all.

    Reads ``dist.mask``; of a sequence, whatever distribution has such attributes, ``mask_frames``
    (..., T), the frames that exist, and ``observed`` (..., T, D), the numbers that were seen; and
    the masked frames of an ``observation_dist``. With ``seen=False``, what exists and was not seen
    counts too.
    """
    return reduce(both, (_own_mask(layer, seen) for layer in layers(fn, WRAPPERS)), None)


def _own_mask(fn: Any, seen: bool) -> Any:
    """Return what a distribution masks itself, apart from those inside it."""
    if getattr(fn, "hides_existing", False) and not seen:
        return None
    if isinstance(fn, MaskedDistribution):
        return widen(fn._mask, fn.event_dim)
    frames = widen(getattr(fn, "mask_frames", None), fn.event_dim - 1)
    if seen and (numbers := getattr(fn, "observed", None)) is not None:
        return both(frames, numbers)
    if isinstance(fn, DiscreteHMM) and frames is None:
        return _mask_of_emissions(fn.observation_dist)
    return frames


def _mask_of_emissions(fn: Any) -> Tensor | None:
    """Return the mask of emissions (..., T, states), which is that of a frame in any state."""
    mask = mask_within(fn)
    if mask is None or not mask.dim():
        return mask
    full = mask.expand(torch.broadcast_shapes(mask.shape, fn.batch_shape + fn.event_shape))
    return full.any(-fn.event_dim - 1)


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
