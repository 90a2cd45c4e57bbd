"""Effect handlers that put the weight of the KL term on sites, for the classes of Pyro."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
from pyro.distributions import TorchDistribution
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from inference.objectives.kl_weight import Weight, for_site


class GuideKLWeight(Messenger):
    """Weigh every latent site of a guide, and remember their names.

    Parameters
    ----------
    weight
        Of the KL term, or by site; 0 is allowed.
    """

    def __init__(self, weight: Weight) -> None:
        super().__init__()
        self.weight = weight
        self.names: set[str] = set()

    def _pyro_sample(self, msg: Any) -> None:
        if site_is_subsample(msg):
            return
        if not msg["is_observed"] or msg["infer"].get("is_auxiliary"):
            self.names.add(msg["name"])
            msg["scale"] = msg["scale"] * for_site(self.weight, msg["name"])


class ModelKLWeight(Messenger):
    """Weigh those latent sites of a model that its guide names; never one that is summed out.

    A site whose prior depends on an enumerated site is a factor inside a sum, which has one scale
    for all: its density is raised to the power ``weight`` instead, inside the sum.
    """

    def __init__(self, weight: Weight, guide: GuideKLWeight) -> None:
        super().__init__()
        self.weight, self.guide = weight, guide

    def _pyro_sample(self, msg: Any) -> None:
        if msg["is_observed"] or msg["name"] not in self.guide.names:
            return
        weight = for_site(self.weight, msg["name"])
        if _is_enumerated_over(msg):
            msg["fn"] = Tempered(msg["fn"], weight)
        else:
            msg["scale"] = msg["scale"] * weight


def weighted(model: Any, guide: Any, weight: Weight) -> tuple[Any, Any]:
    """Return a pair whose KL term is weighted, in both."""
    if weight == 1.0:
        return model, guide
    guide_weight = GuideKLWeight(weight)
    return ModelKLWeight(weight, guide_weight)(model), guide_weight(guide)


def _is_enumerated_over(msg: Any) -> bool:
    """Whether a site's distribution has batch dims that are no plate's: dims of enumeration."""
    plates = {frame.dim for frame in msg["cond_indep_stack"]}
    shape = msg["fn"].batch_shape
    return any(size > 1 and dim - len(shape) not in plates for dim, size in enumerate(shape))


class Tempered(TorchDistribution):
    """A distribution's density to a power, not normalised: only to be scored.

    Parameters
    ----------
    base
        The distribution.
    power
        The exponent.
    """

    arg_constraints: dict[str, Any] = {}

    def __init__(self, base: dist.TorchDistribution, power: float) -> None:
        self.base, self.power = base, power
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """As the base distribution has."""
        return bool(self.base.has_rsample)

    @property
    def support(self) -> Any:
        """As the base distribution has."""
        return self.base.support

    def expand(self, batch_shape: Any, _instance: Any = None) -> Tempered:
        """Expand the base distribution."""
        return Tempered(self.base.expand(batch_shape), self.power)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return ``power`` times the log density, shape ``batch_shape``."""
        log_prob: Tensor = self.base.log_prob(value)
        return self.power * log_prob
