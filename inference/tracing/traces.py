"""Draws of a pair as traces, read site by site in one layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyro
from pyro.poutine import Trace
from torch import Tensor

from inference.tracing.sites import Place, Plate, node, sample_sites, unscaled_log_density
from inference.tracing.terms import Terms, rows_of

DRAWS = "_draws"  # the name of the outer plate


def plated(fn: Callable[..., Any], size: int | None, nesting: int) -> Callable[..., Any]:
    """Run a function under an outer plate of so many draws; as it is, if None."""

    def run(*args: Any, **kwargs: Any) -> Any:
        with pyro.plate(DRAWS, size, dim=-nesting - 1):
            return fn(*args, **kwargs)

    return fn if size is None else run


@dataclass(frozen=True)
class Traces:
    """`size` draws: the guide's trace and the model's, replayed on it.

    `places` says where each site's dims are; `plated` whether there is an outer plate of draws.
    """

    guide: Trace
    model: Trace
    size: int
    plated: bool
    places: dict[str, Place]
    guide_places: dict[str, Place]

    def value(self, name: str) -> Tensor:
        """Return a model site's value: ``(S, plates..., event...)``."""
        return self.places[name].value(node(self.model, name)["value"], self.size)

    def log_likelihood(self, name: str) -> Tensor:
        """Return a model site's log density, without scales: ``(S, plates...)``."""
        return self.places[name].batch(unscaled_log_density(node(self.model, name)), self.size)

    def terms(self, plate: Plate | None) -> Terms:
        """Return the terms of the bound, (S, B) each."""
        rows = rows_of(sample_sites(self.guide), sample_sites(self.model))
        nesting = next(iter(self.places.values())).nesting
        name = None if plate is None else plate.name
        return Terms(tuple(rows), name, self.size, nesting, self.model)
