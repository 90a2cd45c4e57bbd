"""Draws of a pair as traces, read site by site in one layout."""

from __future__ import annotations

from dataclasses import dataclass

from pyro.poutine import Trace
from torch import Tensor

from inference.tracing.sites import Place, log_density, node

DRAWS = "_draws"  # the name of the outer plate


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

    def log_p(self, name: str) -> Tensor:
        """Return a model site's log density, unweighted: ``(S, plates...)``."""
        return self.places[name].batch(log_density(node(self.model, name)), self.size)

    def log_q(self, name: str) -> Tensor:
        """Return a guide site's log density, unweighted: ``(S, plates...)``."""
        return self.guide_places[name].batch(log_density(node(self.guide, name)), self.size)
