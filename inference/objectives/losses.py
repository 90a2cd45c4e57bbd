"""Losses that are more than an evidence lower bound with a fixed weight, term by term."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from inference.errors import PairError
from inference.objectives.elbo_terms import View, average, look, terms, total
from inference.objectives.enumerated_terms import summed_terms
from inference.objectives.importance_weighted import draw_many, iwae, renyi
from inference.objectives.kl_weight import Weight, of, refuse_unknown
from inference.objectives.target_rate import TargetRate
from inference.tracing import Layout, batch_length, precision, whole_size

if TYPE_CHECKING:
    from inference.objectives.objective import Objective


@dataclass(frozen=True, eq=False)
class Measured:
    """A loss, and what was seen on the way to it.

    Parameters
    ----------
    loss
        A scalar to differentiate, in nats per observation.
    figures
        By name, without gradient, in nats per observation: ``rate``, the unweighted KL term, where
        it was taken apart; and each penalty, by the name of its class.
    view
        A draw for critics to learn from.
    """

    loss: Tensor
    figures: dict[str, Tensor] = field(default_factory=dict)
    view: View | None = None

    def teach(self, penalties: Iterable[nn.Module]) -> None:
        """Let those penalties that have a critic learn; no gradient is left in any of them."""
        for penalty in penalties:
            penalty.zero_grad()  # what the loss has left there
            learn = getattr(penalty, "learn", None)
            if learn is not None and self.view is not None:
                with torch.enable_grad():
                    learn(self.view.detached())
                penalty.zero_grad()


def one_draw_loss(
    objective: Objective,
    model: Any,
    guide: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    shape: Layout,
    step: int,
    data_size: int | None,
) -> Measured:
    """Add up distortion, weighted rates and penalties, averaged over particles.

    Raises
    ------
    PairError
        As `inference.objectives.elbo_terms.look` and `inference.objectives.elbo_terms.terms` do;
        or, where sites are summed out, `inference.objectives.enumerated_terms.summed_terms`.
    """
    closed_form, weight = objective.resolve(shape) == "meanfield", _weight(objective, shape, step)
    size = whole_size(shape, batch_length(args, kwargs), data_size)
    free, views = objective.free_bits, list[View]()
    per = {} if free is None else free.granularity(shape.drawn)
    draws = range(objective.num_particles)
    if shape.enumerated and not objective.penalties:
        parts = [summed_terms(model, guide, args, kwargs, shape, per) for _ in draws]
    else:
        views = [look(model, guide, args, kwargs, shape, size, step) for _ in draws]
        parts = [terms(view, closed_form, per) for view in views]
    mean = average(parts)
    rates = mean.rates if free is None else free.rates(mean)
    shaped = total((of(weight, name) * rate for name, rate in rates.items()), mean.distortion)
    loss = mean.distortion + shaped
    return _penalised(loss, mean.rate, objective, views)


def many_draws_loss(
    objective: Objective,
    model: Any,
    guide: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    shape: Layout,
    step: int,
    data_size: int | None,
) -> Measured:
    """Return minus the mean over the batch of an importance weighted, or Renyi's, bound.

    Raises
    ------
    PairError
        As `inference.objectives.importance_weighted.draw_many` does; or a KL weight, where sites
        are summed out.
    """
    size = whole_size(shape, batch_length(args, kwargs), data_size)
    weight, steered = _weight(objective, shape, step), isinstance(objective.kl_weight, TargetRate)
    if shape.enumerated and (weight != 1 or steered):
        raise PairError(
            shape.enumerated[0],
            "a site that is summed out, in a bound of many draws with a KL weight",
            "kl_weight=1",
            "kind='enum', which takes a KL weight",
        )
    draws = draw_many(model, guide, args, kwargs, shape, objective.num_particles, objective.chunk)
    assert not isinstance(weight, dict)  # an objective of many draws has one for all sites
    log_weights = draws.log_weights(weight)
    if objective.kind == "iwae":
        bound = iwae(log_weights)
    else:
        bound = renyi(log_weights, objective.alpha)
    loss = -bound.mean().to(precision(args, kwargs))
    rate = None if draws.ratio is None else draws.ratio.mean()
    views = []
    if objective.penalties:
        views = [look(model, guide, args, kwargs, shape, size, step)]
    return _penalised(loss, rate, objective, views)


def _weight(objective: Objective, shape: Layout, step: int) -> Weight:
    """Return the KL weight; refuse one of no site, or to steer a rate that nothing has."""
    if isinstance(objective.kl_weight, TargetRate) and not shape.drawn:
        seen, cure = "a target rate, and no latent site that the guide draws", "kl_weight=1"
        raise PairError(None, seen, "a site to have a rate", cure)
    weight = objective.weight(step)
    refuse_unknown(weight, shape.drawn)
    return weight


def _penalised(
    loss: Tensor, rate: Tensor | None, objective: Objective, views: list[View]
) -> Measured:
    figures = {} if rate is None else {"rate": rate.detach()}
    if not objective.penalties:
        return Measured(loss, figures)
    for number, penalty in enumerate(objective.penalties):
        value = torch.stack([torch.as_tensor(penalty(view)) for view in views]).mean()
        name = type(penalty).__name__
        figures[name if name not in figures else f"{name} {number + 1}"] = value.detach()
        loss = loss + value
    return Measured(loss, figures, views[-1])
