"""Draws of a pair for training: whether many can be made at once, and sums inside them.

A front to `inference.diagnostics.draws` that asks only once for a size of batch.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from inference.structure import Layout, batch_length

if TYPE_CHECKING:
    from inference.diagnostics.draws import Sampler

# by model, guide and the shape of the call
_samplers: WeakKeyDictionary[Any, WeakKeyDictionary[Any, dict[Any, Sampler]]] = WeakKeyDictionary()


def sampler_of(
    model: Any, guide: Any, args: tuple[Any, ...], kwargs: dict[str, Any], shape: Layout
) -> Sampler:
    """Return what draws from a pair with a data plate; the pair is probed in evaluation mode."""
    from inference.diagnostics.draws import Sampler, quiet

    assert shape.plate is not None
    dims = tuple(v.dim() if isinstance(v, Tensor) else None for v in (*args, *kwargs.values()))
    key = shape.plate.name, batch_length(args, kwargs), dims, tuple(kwargs)
    known = _samplers.setdefault(model, WeakKeyDictionary()).setdefault(guide, {})
    if key not in known:
        with quiet(model, guide, seed=0):
            found = copy.copy(Sampler(model, guide, args, kwargs, shape.plate.name))
        found.model = found.guide = nn.Identity()  # what is kept holds neither pair nor data
        found.sites, found.args, found.kwargs = {}, (), {}
        known[key] = found
    sampler = known[key].with_data(args, kwargs)
    sampler.model, sampler.guide = model, guide
    return sampler
