"""The plain evidence lower bound: by Pyro's classes, or by the same sum in less time."""

from __future__ import annotations

from typing import Any

import torch
from pyro.infer import Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from pyro.poutine.util import is_validation_enabled
from torch import Tensor

from inference.objectives.elbo_per_datum import bound_per_datum
from inference.objectives.kl_weight import Weight
from inference.objectives.pathwise_elbo import pathwise_bound
from inference.objectives.step import Step
from inference.objectives.weighted_sites import weighted
from inference.tracing import Layout, batch_length, no_warnings, precision, scaled

_ELBOS: dict[str, Any] = {
    "trace": Trace_ELBO,
    "meanfield": TraceMeanField_ELBO,
    "enum": TraceEnum_ELBO,
}


def plain_loss(kind: str, step: Step, weight: Weight, num_particles: int) -> Tensor:
    """Estimate the negative bound, per observation, with a KL weight that is known before.

    With Pyro's validation off, a pair whose guide draws differentiably is scored without traces.

    Parameters
    ----------
    kind
        ``"trace"``, ``"meanfield"`` or ``"enum"``.
    step
        The pair and its batch.
    weight
        Of the KL term.
    num_particles
        Draws to average.
    """
    model, guide, size = _scaled(step)
    if kind != "enum" and step.shape.pathwise and not is_validation_enabled():
        call = model, guide, step.args, step.kwargs, kind == "meanfield", weight
        bounds = [pathwise_bound(*call) for _ in range(num_particles)]
        found = [bound for bound in bounds if bound is not None]
        if len(found) == len(bounds):
            return -sum(found[1:], found[0]) / (len(found) * size)
    pair, elbo = weighted(model, guide, weight, step.shape), _elbo(kind, step.shape, num_particles)
    with no_warnings():
        loss: Tensor = elbo.differentiable_loss(*pair, *step.args, **step.kwargs)
    return loss / size


def plain_bound(kind: str, step: Step, num_particles: int) -> Tensor:
    """Estimate the bound of each observation, (B,), or where it does not fall apart, per one.

    Parameters are those of `plain_loss`.
    """
    with no_warnings():
        if step.shape.local:
            return bound_per_datum(kind, step, num_particles)
        model, guide, size = _scaled(step)
        elbo = _elbo(kind, step.shape, num_particles)
        loss = elbo.loss(model, guide, *step.args, **step.kwargs)
    return torch.as_tensor(-loss / size, dtype=precision(step.args, step.kwargs))


def _scaled(step: Step) -> tuple[Any, Any, int]:
    batch = batch_length(step.args, step.kwargs)
    return scaled(step.model, step.guide, step.shape, batch, step.data_size)


def _elbo(kind: str, shape: Layout, num_particles: int) -> Any:
    return _ELBOS[kind](
        num_particles=num_particles,
        max_plate_nesting=shape.max_plate_nesting,
        strict_enumeration_warning=False,
    )
