"""The posterior as an ArviZ object: draws of the guide, predictions, log likelihood, data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from inference.diagnostics.arviz_adapter import Variable, to_arviz
from inference.tracing import (
    Sampler,
    Traces,
    is_deterministic,
    pointwise,
    sampling,
    stack_draws,
)

MASKED = "NaN where a mask hides the site: frames that do not exist, missing data"

Parts = dict[str, dict[str, list[Tensor]]]  # by group and site, a tensor a chunk


def posterior(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Any,
    num_samples: int = 1000,
    seed: int = 0,
    coords: Mapping[str, Any] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    predictive: bool = True,
    log_likelihood: bool = True,
    plate: str | None = None,
    chunk: int | None = None,
    **named: Any,
) -> Any:
    r"""Draw from a guide, and return the draws as an ArviZ object.

    One chain of independent draws. The r-hat and effective sample size of Markov chains mean
    nothing for these (ArviZ says NaN, or warns of one chain; ``az.summary(..., kind="stats")``
    leaves them out): they cannot distinguish a wrong guide from a right one. `importance` (k-hat)
    and `sbc` can.

    Groups
    ------
    posterior
        Every latent site; enumerated ones too, drawn from their exact posterior given the guide's
        draw; ``pyro.deterministic`` values.
    posterior_predictive
        Every observed site, drawn given the latents of the same datum.
    log_likelihood
        Every observed site, summed over its event: one number an element of its plates, double
        precision, 0 where the data are masked (never NaN). Enumerated sites in the same plates are
        summed out, :math:`\log p(x_i \mid z)`, as leave-one-out wants; if one is shared by several
        elements it is conditioned on. The attribute ``enumerated`` says which.
    observed_data
        The data. Values keep the model's dtype.

    What a mask hides (frames after a sequence's end, missing data) is NaN in posterior,
    posterior_predictive and observed_data; integers become floats for it. The attribute ``masked``
    says so. Predictions of a site that a datum lacks altogether, as a missing modality, are kept.

    Parameters
    ----------
    model, guide, *data, **named
        Any pair, and the data, as it takes them.
    num_samples
        S, the number of draws.
    seed
        Where the draws begin.
    coords
        Labels by dim, for plates and events.
    dims
        By site, names for its event dims. Plates give the others their names, and event dims
        without a name are ``{site}_dim_{i}``. A plate named like a site becomes ``{name}_plate``.
    predictive, log_likelihood
        Whether to make these groups.
    plate
        The name of the data plate, when it is ambiguous.
    chunk
        Draws made at a time; by default as many as a fixed budget allows.

    Returns
    -------
    arviz.InferenceData or xarray.DataTree
        What the installed ArviZ (0.23, or 1.x) works with.

    Raises
    ------
    PairError
        The guide misses a latent site.
    ValueError
        `coords` or `dims` do not fit.
    """
    with sampling(model, guide, data, named, seed, plate) as sampler:
        _check_dims(sampler, dims or {})
        parts: Parts = {}
        for traces in sampler.chunks(num_samples, "sampled", chunk):
            _collect(parts, "posterior", _latents(sampler, traces))
            if predictive:
                _collect(parts, "posterior_predictive", sampler.predict(traces))
            if log_likelihood:
                _collect(parts, "log_likelihood", _log_likelihood(sampler, traces))
        groups = _groups(sampler, parts, dims or {})
        _note_sums(sampler, groups)
    return to_arviz(groups, coords)


def _collect(parts: Parts, group: str, values: dict[str, Tensor]) -> None:
    for name, value in values.items():
        parts.setdefault(group, {}).setdefault(name, []).append(value.detach().cpu())


def _latents(sampler: Sampler, traces: Traces) -> dict[str, Tensor]:
    derived = [n for n, s in sampler.sites.items() if is_deterministic(s)]
    return {n: traces.value(n) for n in [*sampler.latents, *sampler.enumerated, *derived]}


def _log_likelihood(sampler: Sampler, traces: Traces) -> dict[str, Tensor]:
    summed = _summed(sampler, traces) if sampler.enumerated else {}
    values = {n: summed[n] if n in summed else traces.log_likelihood(n) for n in sampler.observed}
    return {n: value.double() for n, value in values.items()}


def _summed(sampler: Sampler, traces: Traces) -> dict[str, Tensor]:
    """Return the log likelihood of the sites whose enumerated sites can be summed out."""
    size = traces.size if traces.plated else None
    summed = replace(traces, model=sampler.replayed(traces.guide, size, "summed"))
    data = [n for n, s in sampler.sites.items() if s["is_observed"]]
    terms = summed.terms(sampler.plate)
    found = {n: pointwise(terms, n, data) for n in sampler.observed}
    return {n: value for n, value in found.items() if value is not None}


def _groups(
    sampler: Sampler, parts: Parts, dims: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, Variable]]:
    groups = {
        group: {n: _variable(sampler, n, stack_draws(v), dims) for n, v in values.items()}
        for group, values in parts.items()
    }
    groups["observed_data"] = {
        n: _variable(sampler, n, sampler.data(n).cpu(), dims, drawn=False) for n in sampler.observed
    }
    for group in groups.keys() - {"log_likelihood"}:
        groups[group] = {n: _masked(sampler, n, v, group) for n, v in groups[group].items()}
    return {group: values for group, values in groups.items() if values}


def _masked(sampler: Sampler, name: str, variable: Variable, group: str) -> Variable:
    """Put NaN where a site has nothing."""
    mask = sampler.mask(name)
    if mask is not None and group == "posterior_predictive":
        mask = _or_lacking(sampler, name, mask)
    if mask is None or bool(mask.all()):
        return variable
    shape = variable.values.shape[variable.drawn :]
    values = np.where(mask.cpu().numpy().reshape(shape), variable.values, np.nan)
    if np.issubdtype(variable.values.dtype, np.floating):
        values = values.astype(variable.values.dtype)
    return replace(variable, values=values, attrs=variable.attrs | {"masked": MASKED})


def _or_lacking(sampler: Sampler, name: str, mask: Tensor) -> Tensor:
    """Let count what belongs to a datum that has nothing of the site: it is all predicted."""
    axis = sampler.places[name].axis(sampler.plate.name) if sampler.plate else None
    if axis is None:
        return mask
    others = [dim for dim in range(mask.dim()) if dim != axis - 1]
    there = mask.any(others[0], True) if others else mask
    for dim in others[1:]:
        there = there.any(dim, True)
    return mask | ~there


def _note_sums(sampler: Sampler, groups: dict[str, dict[str, Variable]]) -> None:
    """Say in the log likelihood what became of enumerated sites."""
    if not sampler.enumerated or "log_likelihood" not in groups:
        return
    summed = _summed(sampler, next(sampler.chunks(1, "sampled")))
    for name, variable in groups["log_likelihood"].items():
        variable.attrs["enumerated"] = "summed" if name in summed else "given"


def _variable(
    sampler: Sampler,
    name: str,
    values: Tensor,
    dims: Mapping[str, Sequence[str]],
    drawn: bool = True,
) -> Variable:
    place = sampler.places[name]
    rank = values.dim() - drawn
    plates = [(plate.name, True) for plate in place.plates]
    rest = dims.get(name) or [f"{name}_dim_{i}".replace("/", ".") for i in range(place.event_dim)]
    events = [(dim, False) for dim in rest] if rank > len(plates) else []
    undeclared = rank - len(plates) - len(events)  # batch dims outside any plate
    extra = [(f"{name}_batch_{i}".replace("/", "."), False) for i in range(undeclared)]
    return Variable(values.numpy(), [*plates, *extra, *events], drawn)


def _check_dims(sampler: Sampler, dims: Mapping[str, Sequence[str]]) -> None:
    for name, given in dims.items():
        if name not in sampler.places:
            raise ValueError(f"dims: saw {name!r}, expected a site of {list(sampler.places)}")
        if len(given) != sampler.places[name].event_dim:
            raise ValueError(
                f"dims: saw {len(given)} names for {name!r}, expected "
                f"{sampler.places[name].event_dim}, one an event dim (plates have names)"
            )
