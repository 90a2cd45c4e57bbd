"""The sites of a model and a guide, held against each other and against their plates."""

from __future__ import annotations

from typing import Any

import torch
from pyro.poutine import Trace
from torch import Tensor

from inference.errors import PairError
from inference.tracing import WRAPPERS, is_deterministic, layers, sample_sites, unwrapped


def check_sites(model_trace: Trace, guide_trace: Trace) -> None:
    """Hold two traces, neither enumerated nor scored, against each other.

    Raises
    ------
    PairError
        For the first site that the guide lacks or adds, whose plates or shapes differ, that has
        batch dims without a plate, or whose data do not fit its distribution.
    """
    model, guide = sample_sites(model_trace), sample_sites(guide_trace)
    for name, site in model.items():
        if not site["is_observed"] and name not in guide:
            _check_summed(name, site)
    for name, site in guide.items():
        if not site["infer"].get("is_auxiliary"):
            _check_wanted(name, model)
    for role, sites in (("model", model), ("guide", guide)):
        for name, site in sites.items():
            if not is_deterministic(site):  # computed, not drawn: any shape will do
                _check_batch(name, site, role)
    for name, site in model.items():
        if name in guide and not site["is_observed"]:
            _check_plates(name, site, guide[name])
            _check_shapes(name, site["fn"], guide[name]["fn"])
    for name, site in model.items():
        if site["is_observed"] and not is_deterministic(site):
            _check_support(name, site)


def _check_summed(name: str, site: Any) -> None:
    """A latent site that the guide lacks has to be enumerated, in parallel, and enumerable."""
    fn, how = site["fn"], site["infer"].get("enumerate")
    parallel = "infer={'enumerate': 'parallel'}"
    enumerable = bool(getattr(fn, "has_enumerate_support", False))
    if how == "parallel" and enumerable:
        return
    if how is None and not enumerable:
        raise PairError(
            name,
            "a latent site of the model that the guide does not sample",
            "a guide that samples every latent site: Pyro would take the prior for its posterior",
            f"add pyro.sample('{name}', ...) to the guide, or pass its data as obs=",
        )
    if enumerable:
        found = f"enumerated {how} in the model" if how else "neither enumerated nor in the guide"
        raise PairError(
            name,
            f"a discrete site ({kind(fn)}) that is {found}",
            f"a discrete site marked {parallel} in the model, or sampled by the guide",
            f"write pyro.sample('{name}', ..., {parallel})",
        )
    raise PairError(
        name,
        f"a {kind(fn)} marked for enumeration",
        "a distribution with finitely many values",
        f"sample '{name}' in the guide instead of enumerating it",
    )


def _check_wanted(name: str, model: dict[str, Any]) -> None:
    if name not in model:
        raise PairError(
            name,
            "a site of the guide that the model does not have",
            f"only the model's latent sites: {_list(model)}",
            "give it the model's name, remove it, "
            "or mark it infer={'is_auxiliary': True} if the guide alone needs it",
        )
    if model[name]["is_observed"]:
        raise PairError(
            name,
            "a site that the guide samples and the model observes",
            "a guide that samples latent sites only",
            f"remove '{name}' from the guide, or do not observe it in the model",
        )


def _list(model: dict[str, Any]) -> str:
    return ", ".join(n for n, site in model.items() if not site["is_observed"]) or "none"


def _check_plates(name: str, site: Any, other: Any) -> None:
    ours, theirs = (plates(s) for s in (site, other))
    if set(ours) != set(theirs):
        raise PairError(
            name,
            f"plates {_listed(theirs)} in the guide, {_listed(ours)} in the model",
            "the same plates, of the same name, dim and size, in both",
            f"put '{name}' into {_listed(ours)} in the guide, with dim= written out in both",
        )


def plates(site: Any) -> tuple[tuple[str, int | None, int], ...]:
    """Name, dim and size of a site's plates, from the outermost to the innermost."""
    frames = sorted(site["cond_indep_stack"], key=lambda f: (f.dim is not None, f.dim or 0))
    return tuple((frame.name, frame.dim, frame.size) for frame in frames)


def _listed(frames: tuple[tuple[str, int | None, int], ...]) -> str:
    return ", ".join(f"{name}(dim={dim}, size={size})" for name, dim, size in frames) or "none"


def _check_batch(name: str, site: Any, role: str) -> None:
    """Every batch dim larger than one belongs to a plate."""
    fn, value = site["fn"], site["value"]
    shape, event = tuple(fn.batch_shape), tuple(fn.event_shape)
    found = f"batch shape {shape} and event shape {event} in the {role}"
    if site["is_observed"] and isinstance(value, Tensor):
        _check_event(name, value, event)
        data = value.shape[: value.dim() - len(event)]
        found += f", data of shape {tuple(value.shape)}"
        try:
            shape = tuple(torch.broadcast_shapes(shape, data))
        except RuntimeError:
            raise _unlike(name, found) from None
        _check_trailing_one(name, tuple(fn.batch_shape), tuple(data), found)
    declared = {dim: size for _, dim, size in plates(site) if dim is not None}
    for place, size in enumerate(shape):
        dim = place - len(shape)
        if size > 1 and declared.get(dim, 1) != size:
            raise PairError(
                name,
                f"{found}, in plates {_listed(plates(site))}",
                f"a plate of size {size} at dim {dim}, or no such dim",
                f"make dims on the right part of one event by .to_event({-dim}), "
                f"or enclose the site in pyro.plate(..., {size}, dim={dim})",
            )


def _check_trailing_one(
    name: str, batch: tuple[int, ...], data: tuple[int, ...], found: str
) -> None:
    """A mean of shape (N, 1) against data of shape (N,), or the reverse, makes N x N densities."""
    tall = (*data, 1), (*data, *data[-1:])  # a plate has widened the second
    if data and data[-1] > 1 and batch in tall:
        expected = f"a mean of the shape of the data, {data}"
        cure = (
            "squeeze the mean, as in net(x).squeeze(-1); or pass y.unsqueeze(-1), and .to_event(1)"
        )
        raise PairError(name, found, expected, cure)
    if data == (*batch, 1) and batch and batch[-1] > 1:
        expected = f"data of the shape of the mean, {batch}"
        cure = "squeeze the data, y.squeeze(-1); or give the mean .unsqueeze(-1), and .to_event(1)"
        raise PairError(name, found, expected, cure)


def _check_event(name: str, value: Tensor, event: tuple[int, ...]) -> None:
    if tuple(value.shape[value.dim() - len(event) :]) != event:
        raise _unlike(name, f"data of shape {tuple(value.shape)} for events of shape {event}")


def _unlike(name: str, found: str) -> PairError:
    return PairError(
        name,
        found,
        "data of shape batch_shape + event_shape",
        "change the distribution's shape, .to_event(...) included, or the data's",
    )


def _check_shapes(name: str, model_fn: Any, guide_fn: Any) -> None:
    ours, theirs = (
        (_no_leading_ones(fn.batch_shape), tuple(fn.event_shape)) for fn in (model_fn, guide_fn)
    )
    if ours != theirs:
        raise PairError(
            name,
            f"batch and event shape {tuple(guide_fn.batch_shape)}, {theirs[1]} in the guide",
            f"those of the model: {tuple(model_fn.batch_shape)}, {ours[1]}",
            f"make the guide's event as the model's is: .to_event({len(ours[1])}) "
            "on a distribution of one number, and parameters of that shape",
        )


def _no_leading_ones(shape: torch.Size) -> tuple[int, ...]:
    start = next((i for i, size in enumerate(shape) if size > 1), len(shape))
    return tuple(shape[start:])


def _check_support(name: str, site: Any) -> None:
    """Observed data lie in the support of their distribution, where they are not masked."""
    if not site["value"].numel():  # a `pyro.factor` has no data
        return
    try:
        inside = site["fn"].support.check(site["value"])
    except (NotImplementedError, AttributeError):
        return
    if _masks_inside(site["fn"]):
        return
    inside = inside | _nan_events(site)  # for who looks for what is not finite
    for mask in (site["mask"], getattr(site["fn"], "_mask", None)):
        if mask is not None:
            inside = inside | ~torch.as_tensor(mask)
    if not inside.all():
        bad = ~inside
        first = site["value"].expand(inside.shape + site["fn"].event_shape)[bad][0]
        raise PairError(
            name,
            f"{int(bad.sum())} of {bad.numel()} observed events outside the support, "
            f"such as {first.flatten()[:3].tolist()}",
            f"data in the support of {kind(site['fn'])}: {site['fn'].support}",
            "rescale or clean the data, mask what is missing by .mask(...), "
            "or take a distribution with this support",
        )


def _nan_events(site: Any) -> Tensor:
    """Which events of the data hold a NaN."""
    nan = torch.as_tensor(site["value"]).isnan()
    return nan.flatten(nan.dim() - site["fn"].event_dim).any(-1) if site["fn"].event_dim else nan


def _masks_inside(fn: Any) -> bool:
    """Whether elements of one event are masked, so that an event's support says too much."""
    _, *inside = layers(fn)
    return any(getattr(layer, "_mask", None) is not None for layer in inside)


def kind(fn: Any) -> str:
    """The name of a distribution, without what was wrapped around it."""
    return type(unwrapped(fn, WRAPPERS)).__name__
