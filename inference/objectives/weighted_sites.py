"""Effect handlers that put the weight of the KL term on sites, for the classes of Pyro."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from pyro.poutine import Trace
from pyro.poutine.indep_messenger import CondIndepStackFrame
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from inference.objectives.kl_weight import Weight, for_site
from inference.tracing import Layout, Terms, common_scale, contract_to, frame_of, rows_of


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
        self.enumerates = False

    def _pyro_sample(self, msg: Any) -> None:
        if site_is_subsample(msg):
            return
        self.enumerates = self.enumerates or bool(msg["infer"].get("enumerate"))
        if not msg["is_observed"] or msg["infer"].get("is_auxiliary"):
            self.names.add(msg["name"])
            msg["scale"] = msg["scale"] * for_site(self.weight, msg["name"])


class ModelKLWeight(Messenger):
    """Weigh those latent sites of a model that its guide names; never one that is summed out.

    A site whose prior depends on a site that the guide enumerates has its density raised to the
    power ``weight``: in the guide's expectation that is its weight. One whose prior is a sum over a
    site of the model is left as it is, and named in ``mixed``: `prior_factor` weighs the sum.
    """

    def __init__(self, weight: Weight, guide: GuideKLWeight) -> None:
        super().__init__()
        self.weight, self.guide = weight, guide
        self.mixed: list[str] = []
        self.nodes = Trace()

    def _pyro_sample(self, msg: Any) -> None:
        if msg["is_observed"] or msg["name"] not in self.guide.names:
            return
        weight = for_site(self.weight, msg["name"])
        if not _is_enumerated_over(msg):
            msg["scale"] = msg["scale"] * weight
        elif self.guide.enumerates:
            msg["fn"] = Tempered(msg["fn"], weight)
        else:
            self.mixed.append(msg["name"])

    def _pyro_post_sample(self, msg: Any) -> None:
        if msg["is_observed"] or site_is_subsample(msg):
            return
        if msg["name"] in self.mixed or msg["name"] not in self.guide.names:
            node = {**msg, "infer": dict(msg["infer"])}  # for symbols of its own
            self.nodes.add_node(msg["name"], **node)


class WeightedModel:
    r"""A model whose latent sites are weighted, for the classes of Pyro to run beside its guide.

    With a latent z whose prior is a sum over an enumerated site c, what is minimised is
    distortion plus weighted rate,

    .. math:: -\log p(x, z) + \beta \log q(z) + (1 - \beta) \log p(z), \qquad
        p(z) = \sum_c p(c)\, p(z \mid c),

    so a factor of the last term joins the sites. The sum is exact, and without the data.
    """

    def __init__(self, model: Any, weight: Weight, guide: GuideKLWeight, shape: Layout) -> None:
        self.model, self.weight, self.guide, self.shape = model, weight, guide, shape

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model."""
        with ModelKLWeight(self.weight, self.guide) as handler:
            result = self.model(*args, **kwargs)
        if handler.mixed:
            weight = for_site(self.weight, " + ".join(handler.mixed))
            prior_factor(handler.nodes, weight, self.shape)
        return result


def prior_factor(nodes: Trace, weight: float, shape: Layout) -> None:
    """Add (weight - 1) log p(z) to the model that runs, of latents whose prior is a sum.

    Parameters
    ----------
    nodes
        These latents, and the sites that are summed out.
    weight
        Of their rate.
    shape
        The layout of the pair.
    """
    plate = None if shape.plate is None else shape.plate.name
    terms = Terms(tuple(rows_of({}, nodes.nodes)), plate, None, shape.max_plate_nesting, nodes)
    frames = [frame_of(terms.site(name), plate) for name in terms.summed]
    kept = [frame for frame in frames[:1] if frame is not None and None not in frames]
    value = contract_to(terms, terms.summed, kept)[0]
    value = value * common_scale(replace(terms, plate=None), terms.summed)
    if kept:
        assert kept[0].dim is not None
        value = value.reshape(value.shape + (1,) * (-kept[0].dim - 1))
    with _In(tuple(kept)):
        pyro.factor("_weighted_prior", (weight - 1) * value.to(_dtype(nodes)))


def _dtype(nodes: Trace) -> torch.dtype:
    values = [torch.as_tensor(site["value"]) for site in nodes.nodes.values()]
    return next(v.dtype for v in values if v.is_floating_point())


class _In(Messenger):
    """Put the sites of a block in plates that were left already, without their scale."""

    def __init__(self, frames: tuple[CondIndepStackFrame, ...]) -> None:
        super().__init__()
        self.frames = frames

    def _pyro_sample(self, msg: Any) -> None:
        msg["cond_indep_stack"] = self.frames


def weighted(model: Any, guide: Any, weight: Weight, shape: Layout) -> tuple[Any, Any]:
    """Return a pair whose KL term is weighted, in both."""
    if weight == 1.0:
        return model, guide
    guide_weight = GuideKLWeight(weight)
    return WeightedModel(model, weight, guide_weight, shape), guide_weight(guide)


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
