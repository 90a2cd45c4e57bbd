"""Draws of a pair as the groups of an ArviZ object: latents, predictions, log likelihood, data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from inference.diagnostics.arviz_adapter import Attrs, Variable, to_arviz
from inference.diagnostics.arviz_masks import masked
from inference.randomness import derive, seeded
from inference.tracing import (
    Sampler,
    Traces,
    is_deterministic,
    pointwise_sites,
    stack_draws,
)

Parts = dict[str, dict[str, list[Tensor]]]  # by group and site, a tensor a chunk


def exported(
    sampler: Sampler,
    traces: Iterable[Traces],
    coords: Mapping[str, Any] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    *,
    predictive: bool = True,
    log_likelihood: bool = True,
    chains: int = 1,
    attrs: Attrs | None = None,
    khats: Mapping[str, float] | None = None,
    stats: Mapping[str, Variable] | None = None,
) -> Any:
    """Make an ArviZ object of draws.

    Parameters
    ----------
    sampler
        Of the pair.
    traces
        The draws, in chunks, in the mode ``sampled``.
    coords, dims, predictive, log_likelihood
        As `inference.posterior` takes them.
    chains
        How many chains the draws are of, one after the other.
    attrs
        By group, what to say of it.
    khats
        By site, what to say of a variable.
    stats
        The group ``sample_stats``.
    """
    parts: Parts = {}
    for i, chunk in enumerate(traces):
        _collect(parts, "posterior", _latents(sampler, chunk))
        if predictive:  # with noise of its own: latents are those of `importance`, predicted or not
            with seeded(derive(torch.initial_seed(), "predictions", i)):
                _collect(parts, "posterior_predictive", sampler.predict(chunk))
        if log_likelihood:
            _collect(parts, "log_likelihood", log_likelihoods(sampler, chunk))
    groups = _groups(sampler, parts, dims or {})
    _note_sums(sampler, groups)
    for name, khat in (khats or {}).items():
        groups["posterior"][name].attrs["khat"] = khat
    if stats:
        groups["sample_stats"] = dict(stats)
    return to_arviz(groups, {**_rows(sampler, groups), **(coords or {})}, chains, attrs)


def _rows(sampler: Sampler, groups: Mapping[str, Mapping[str, Variable]]) -> dict[str, Any]:
    """Return, as labels, which rows a plate that subsamples itself chose."""
    variables = [variable for group in groups.values() for variable in group.values()]
    there = {dim for variable in variables for dim, plate in variable.dims if plate}
    return {name: rows.cpu().numpy() for name, rows in sampler.rows.items() if name in there}


def _collect(parts: Parts, group: str, values: dict[str, Tensor]) -> None:
    for name, value in values.items():
        parts.setdefault(group, {}).setdefault(name, []).append(value.detach().cpu())


def _latents(sampler: Sampler, traces: Traces) -> dict[str, Tensor]:
    derived = [n for n, s in sampler.sites.items() if is_deterministic(s)]
    return {n: traces.value(n) for n in [*sampler.latents, *sampler.enumerated, *derived]}


def log_likelihoods(sampler: Sampler, traces: Traces) -> dict[str, Tensor]:
    """Return log p(x | z) of every observed site, by name: ``(S, plates...)``, double precision."""
    summed = _summed(sampler, traces) if sampler.enumerated else {}
    values = {n: summed[n] if n in summed else traces.log_likelihood(n) for n in sampler.observed}
    return {n: value.double() for n, value in values.items()}


def summed_traces(sampler: Sampler, traces: Traces) -> Traces:
    """Run the model again on the latents of some draws, enumerated sites summed."""
    if not sampler.enumerated:
        return traces
    size = traces.size if traces.plated else None
    return replace(traces, model=sampler.replayed(traces.guide, size, "summed"))


def _summed(sampler: Sampler, traces: Traces) -> dict[str, Tensor]:
    """Return the log likelihood of the sites whose enumerated sites can be summed out."""
    data = [n for n, s in sampler.sites.items() if s["is_observed"]]
    terms = summed_traces(sampler, traces).terms(sampler.plate)
    return pointwise_sites(terms, sampler.observed, data)


def _groups(
    sampler: Sampler, parts: Parts, dims: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Variable]]:
    groups = {
        group: {n: variable_of(sampler, n, stack_draws(v), dims) for n, v in values.items()}
        for group, values in parts.items()
    }
    data = {n: sampler.sites[n]["value"].detach().cpu() for n in sampler.observed}
    groups["observed_data"] = {
        n: variable_of(sampler, n, sampler.places[n].value(value, 1)[0], dims, drawn=False)
        for n, value in data.items()
    }
    for group in groups.keys() - {"log_likelihood"}:
        groups[group] = {n: masked(sampler, n, v, group) for n, v in groups[group].items()}
    return {group: values for group, values in groups.items() if values}


def _note_sums(sampler: Sampler, groups: dict[str, dict[str, Variable]]) -> None:
    """Say in the log likelihood what became of enumerated sites."""
    if not sampler.enumerated or "log_likelihood" not in groups:
        return
    summed = _summed(sampler, next(sampler.chunks(1, "sampled")))
    for name, variable in groups["log_likelihood"].items():
        variable.attrs["enumerated"] = "summed" if name in summed else "given"


def variable_of(
    sampler: Sampler,
    name: str,
    values: Tensor,
    dims: Mapping[str, Sequence[str]],
    drawn: bool = True,
) -> Variable:
    """Name the dims of a site's values, `drawn` ones with a first axis of draws."""
    place = sampler.places[name]
    rank = values.dim() - drawn
    plates = [(plate.name, True) for plate in place.plates]
    rest = dims.get(name) or [f"{name}_dim_{i}".replace("/", ".") for i in range(place.event_dim)]
    events = [(dim, False) for dim in rest] if rank > len(plates) else []
    undeclared = rank - len(plates) - len(events)  # batch dims outside any plate
    extra = [(f"{name}_batch_{i}".replace("/", "."), False) for i in range(undeclared)]
    return Variable(values.numpy(), [*plates, *extra, *events], drawn)


def check_dims(sampler: Sampler, dims: Mapping[str, Sequence[str]]) -> None:
    """Refuse names of event dims that do not fit their sites (ValueError)."""
    for name, given in dims.items():
        if name not in sampler.places:
            raise ValueError(f"dims: saw {name!r}, expected a site of {list(sampler.places)}")
        if len(given) != sampler.places[name].event_dim:
            raise ValueError(
                f"dims: saw {len(given)} names for {name!r}, expected "
                f"{sampler.places[name].event_dim}, one an event dim (plates have names)"
            )
