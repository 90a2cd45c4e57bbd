"""Losses that are more than an evidence lower bound with a fixed weight, term by term."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from inference.errors import PairError
from inference.objectives.enumerated_terms import summed_rate_distortion
from inference.objectives.free_bits import FreeBits
from inference.objectives.importance_weighted import draw_many, renyi
from inference.objectives.kl_weight import Weight, for_site, refuse_unknown
from inference.objectives.pair_trace import PairTrace
from inference.objectives.rate_distortion import average, rate_distortion, total
from inference.objectives.step import Step
from inference.tracing import Layout, precision


@dataclass(frozen=True, eq=False)
class LossResult:
    """A loss, and what came up on the way to it.

    Parameters
    ----------
    loss
        A scalar to differentiate, in nats per observation.
    figures
        By name, without gradient, in nats per observation: ``rate``, the unweighted KL term, where
        it was taken apart; and each penalty, by the name of its class.
    pair
        A draw for critics to learn from.
    """

    loss: Tensor
    figures: dict[str, Tensor] = field(default_factory=dict)
    pair: PairTrace | None = None

    def update_critics(self, penalties: Iterable[nn.Module]) -> None:
        """Let those penalties that have a critic learn; no gradient is left in any of them."""
        for penalty in penalties:
            penalty.zero_grad()  # what the loss has left there
            learn = getattr(penalty, "learn", None)
            if learn is not None and self.pair is not None:
                with torch.enable_grad():
                    learn(self.pair.detached())
                penalty.zero_grad()


Parts = tuple[Tensor, Tensor | None, list[PairTrace]]  # loss, rate, draws for penalties


def one_draw_loss(
    step: Step,
    closed_form: bool,
    weight: Weight,
    num_particles: int,
    free_bits: FreeBits | None,
    penalised: bool,
) -> Parts:
    """Add up distortion and weighted rates, averaged over particles.

    Raises
    ------
    PairError
        As `trace_pair` and `rate_distortion` do; or, where sites are summed out, as
        `inference.objectives.enumerated_terms.summed_rate_distortion` does.
    """
    draws, pairs = range(num_particles), list[PairTrace]()
    per = {} if free_bits is None else free_bits.granularity(step.shape.drawn)
    if step.shape.enumerated and not penalised:
        parts = [summed_rate_distortion(step, per) for _ in draws]
    else:
        pairs = [step.trace() for _ in draws]
        parts = [rate_distortion(pair, closed_form, per) for pair in pairs]
    mean = average(parts)
    rates = mean.rates if free_bits is None else free_bits.rates(mean)
    weighted = (for_site(weight, name) * rate for name, rate in rates.items())
    return mean.distortion + total(weighted, mean.distortion), mean.rate, pairs


def many_draws_loss(
    step: Step, alpha: float, weight: Weight, num_samples: int, chunk: int | None, penalised: bool
) -> Parts:
    """Return minus the mean over the batch of Renyi's bound; alpha = 0 is importance weighted.

    Raises
    ------
    PairError
        As `inference.objectives.importance_weighted.draw_many` does.
    """
    assert not isinstance(weight, dict)  # an objective of many draws has one for all sites
    draws = draw_many(step, num_samples, chunk)
    bound = renyi(draws.log_weights(weight), alpha)
    loss = -bound.mean().to(precision(step.args, step.kwargs))
    rate = None if draws.ratio is None else draws.ratio.mean()
    return loss, rate, [step.trace()] if penalised else []


def add_penalties(parts: Parts, penalties: Sequence[nn.Module]) -> LossResult:
    """Add penalties to a loss, averaged over its draws."""
    loss, rate, pairs = parts
    figures = {} if rate is None else {"rate": rate.detach()}
    for number, penalty in enumerate(penalties):
        value = torch.stack([torch.as_tensor(penalty(pair)) for pair in pairs]).mean()
        name = type(penalty).__name__
        figures[name if name not in figures else f"{name} {number + 1}"] = value.detach()
        loss = loss + value
    return LossResult(loss, figures, pairs[-1] if penalties else None)


def refuse_weight(shape: Layout, weight: Weight, steered: bool, many: bool) -> None:
    """Refuse a KL weight where there is no rate for it.

    Raises
    ------
    PairError
        The weight of a site that the guide does not draw; a rate to steer, and no latent site; or
        one in a bound of many draws whose sites are summed out.
    """
    refuse_unknown(weight, shape.drawn)
    if steered and not shape.drawn:
        found = "a target rate, and no latent site that the guide draws"
        raise PairError(None, found, "a site to have a rate", "kl_weight=1")
    if many and shape.enumerated and (weight != 1 or steered):
        raise PairError(
            shape.enumerated[0],
            "a site that is summed out, in a bound of many draws with a KL weight",
            "kl_weight=1",
            "kind='enum', which takes a KL weight",
        )
