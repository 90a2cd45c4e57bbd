"""Predictions at new inputs, where nothing is observed: the model run on the guide's posterior."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from inference.diagnostics.arviz_adapter import Variable, to_arviz
from inference.diagnostics.arviz_groups import check_dims, variable_of
from inference.diagnostics.prior_rest import Call, rest_of
from inference.errors import PairError
from inference.tracing import (
    Sampler,
    argument_names,
    is_deterministic,
    quiet,
    signature_of,
    stack_draws,
)


def predict(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *new: Any,
    given: tuple[Any, ...] | Mapping[str, Any] | None = None,
    num_samples: int = 1000,
    seed: int = 0,
    coords: Mapping[str, Any] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    plate: str | None = None,
    chunk: int | None = None,
    **named: Any,
) -> Any:
    r"""Predict what is not observed at new inputs, from the posterior that a guide has learned.

    The model's own signature decides what is an input and what is data: arguments that are left out
    take their default, or None, and a site whose ``obs`` is then None is predicted,

    .. math:: p(y^* \mid x^*, x, y) = \int p(y^* \mid x^*, z)\, q(z \mid x, y)\, dz

    What lies outside the plate of the new rows (weights of a regression) is drawn from the guide.
    What lies inside it (a latent of each row, an enumerated assignment) is of rows that were never
    seen: it is drawn from the model, given the rest, which is its posterior; but where some data of
    the new rows are given (one modality of several), by the guide. Without new rows (no argument
    is a tensor with a dim) the plates are those of training, and all latents are the guide's.

    Groups
    ------
    posterior
        The latent sites that the guide draws.
    predictions
        Every other site that is not given: predicted data, latents of the new rows, and
        ``pyro.deterministic`` values.
    predictions_constant_data
        The new inputs, by the names of the model's arguments.

    Parameters
    ----------
    model, guide
        Any pair, trained: ``run.model, run.guide``.
    *new, **named
        The new inputs, as the model takes them.
    given
        The data that the guide reads (a tuple, or a dict of keyword arguments), where it infers
        what lies outside the plate from training data. By default the guide is given the new
        inputs: an AutoGuide reads none, and an encoder of each row is asked about the new rows.
    num_samples
        S, the number of draws.
    seed
        Where the draws begin.
    coords, dims
        Labels by dim, and names for event dims by site, as `inference.posterior` takes them.
    plate
        The plate of the new rows, where it cannot be guessed: the outermost around a predicted
        site that has as many elements as the first input has rows.
    chunk
        Draws made at a time; by default as many as a fixed budget allows.

    Returns
    -------
    arviz.InferenceData or xarray.DataTree
        What the installed ArviZ (0.23, or 1.x) works with.

    Raises
    ------
    PairError
        All is given, so that nothing is left to predict; the model cannot run without its data; an
        AutoGuide has never run on data; an enumerated site outside the plate, whose posterior
        depends on the training data.
    """
    args, named = _completed(model, new, named)
    call = None if given is None else _given(given)
    names = argument_names(model)
    rest = rest_of(model, guide, (args, named), call, plate, seed)
    with quiet(rest.model, rest.guide, seed):
        sampler = Sampler(rest.model, rest, args, named, rest.plate)
        check_dims(sampler, dims or {})
        values: dict[str, list[Tensor]] = {}
        for traces in sampler.chunks(num_samples, "plain", chunk):
            for name in _asked(sampler):
                values.setdefault(name, []).append(traces.value(name).detach().cpu())
        groups = _groups(sampler, values, rest.names, dims or {})
        groups["predictions_constant_data"] = _inputs(sampler, names)
    said = {"one_by_one": sampler.reason} if sampler.reason else {}
    return to_arviz({g: v for g, v in groups.items() if v}, coords, attrs={"predictions": said})


def _completed(model: Callable[..., Any], new: tuple[Any, ...], named: dict[str, Any]) -> Call:
    """Give None for what is left out and has no default."""
    signature = signature_of(model)
    if signature is None:
        return new, named
    left = {
        name: None
        for name, parameter in signature.parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and name not in _bound_names(signature, new, named)
    }
    return new, {**named, **left}


def _bound_names(
    signature: inspect.Signature, new: tuple[Any, ...], named: dict[str, Any]
) -> set[str]:
    try:
        return set(signature.bind_partial(*new, **named).arguments)
    except TypeError as error:
        raise PairError(
            None,
            f"the model takes {signature}: {error}",
            "the model's own inputs",
            "give them in the model's order, or by name",
        ) from None


def _given(given: Any) -> Call:
    if isinstance(given, Mapping):
        return (), dict(given)
    return (tuple(given) if isinstance(given, (tuple, list)) else (given,)), {}


def _asked(sampler: Sampler) -> list[str]:
    derived = [n for n, s in sampler.sites.items() if is_deterministic(s)]
    return [*sampler.latents, *derived]


def _groups(
    sampler: Sampler,
    values: Mapping[str, list[Tensor]],
    of_guide: Sequence[str],
    dims: Mapping[str, Sequence[str]],
) -> dict[str, dict[str, Variable]]:
    groups: dict[str, dict[str, Variable]] = {"posterior": {}, "predictions": {}}
    for name, chunks in values.items():
        group = groups["posterior" if name in of_guide else "predictions"]
        group[name] = variable_of(sampler, name, stack_draws(chunks), dims)
    return groups


def _inputs(sampler: Sampler, names: Sequence[str]) -> dict[str, Variable]:
    """Return the new inputs as variables, their rows along the data plate."""
    positional = dict(zip(names, sampler.args, strict=False))
    found = {**positional, **sampler.kwargs}
    tensors = {n: v.detach().cpu() for n, v in found.items() if isinstance(v, Tensor)}
    taken = set(sampler.places)
    return {
        n if n not in taken else f"{n}_input": _input(sampler, n, value)
        for n, value in tensors.items()
    }


def _input(sampler: Sampler, name: str, value: Tensor) -> Variable:
    dims = [(f"{name}_dim_{i}", False) for i in range(value.dim())]
    plate = sampler.plate
    if plate is not None and value.dim() and len(value) == plate.size:
        dims[0] = (plate.name, True)
    return Variable(torch.as_tensor(value).numpy(), dims, drawn=False)
