"""Which argument holds which observed site's data, so that simulated data can take its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from inference.errors import PairError
from inference.tracing import Sampler


@dataclass(frozen=True)
class Replacement:
    """Simulated values of `site`, in `shape`, go into an argument (its position or its name).

    Where `mask` is False there are no data, and what the argument holds stays there.
    Where the site's plate subsamples itself, into those `rows` of it.
    """

    site: str
    argument: int | str
    shape: torch.Size
    mask: Tensor | None = None
    rows: Tensor | None = None

    def put(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], values: Tensor
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return a call with these values in the place of the data."""
        value, key = values.reshape(self.shape), self.argument
        held: Tensor = kwargs[key] if isinstance(key, str) else args[key]
        if self.mask is not None:
            there = held if self.rows is None else held[self.rows]
            value = torch.where(self.mask.reshape(self.shape), value.to(held.dtype), there)
        if self.rows is not None:
            value = held.index_copy(0, self.rows, value)
        if isinstance(key, str):
            return args, kwargs | {key: value}
        return (*args[:key], value, *args[key + 1 :]), kwargs


def replacements(sampler: Sampler, given: Mapping[str, int | str]) -> list[Replacement]:
    """Find the argument of every observed site: the one that is its value, or equals it.

    Where a mask hides the site's values, nothing need be equal: padding is often cleaned.

    Parameters
    ----------
    sampler
        The pair and its data.
    given
        By site, the argument to use instead.

    Raises
    ------
    PairError
        If no argument, or more than one, equals a site's value; if an argument that was given is
        not there, or holds another number of values.
    """
    arguments: dict[int | str, Any] = dict(enumerate(sampler.args))
    arguments.update(sampler.kwargs)
    observed = {n: sampler.sites[n]["value"] for n in sampler.observed}
    unknown = set(given) - set(observed)
    if unknown:
        raise PairError(
            site=sorted(unknown)[0],
            found="a name in `replace` that is no observed site",
            expected=f"one of {sorted(observed)}",
            cure="correct the name",
        )
    masks = {name: _mask(sampler, name) for name in observed}
    rows = {name: _rows(sampler, name) for name in observed}
    return [
        replace(_find(n, v, masks[n], _cut(arguments, rows[n]), given), rows=rows[n])
        for n, v in observed.items()
    ]


def _mask(sampler: Sampler, name: str) -> Tensor | None:
    """Return which values of a site count, in the shape of its value; None if all do."""
    mask, shape = sampler.mask(name), sampler.sites[name]["value"].shape
    return mask.reshape(shape) if mask is not None and mask.numel() == shape.numel() else None


def _rows(sampler: Sampler, name: str) -> Tensor | None:
    """Return the rows that a site's outermost plate took of the data; None if all."""
    plates = sampler.places[name].plates
    return sampler.rows.get(plates[0].name) if plates else None


def _cut(arguments: dict[int | str, Any], rows: Tensor | None) -> dict[int | str, Any]:
    """Take the rows of every tensor that has them."""
    if rows is None:
        return arguments
    least = int(rows.max()) + 1
    tensors = {k: t for k, t in arguments.items() if isinstance(t, Tensor) and t.dim()}
    return arguments | {k: t[rows] for k, t in tensors.items() if len(t) >= least}


def _find(
    name: str,
    value: Tensor,
    mask: Tensor | None,
    arguments: dict[int | str, Any],
    given: Mapping[str, int | str],
) -> Replacement:
    if name in given:
        return _given(name, value, mask, arguments, given[name])
    tensors = {key: t for key, t in arguments.items() if isinstance(t, Tensor)}
    found = [key for key, t in tensors.items() if t is value]
    found = found or [key for key, t in tensors.items() if _equal(t, value, mask)]
    if len(found) != 1:
        raise PairError(
            site=name,
            found=f"{len(found)} arguments equal to its observed value",
            expected="exactly one, so that simulated data can take its place",
            cure=f"name it: replace={{{name!r}: position or name of the argument}}",
        )
    return Replacement(name, found[0], tensors[found[0]].shape, mask)


def _given(
    name: str, value: Tensor, mask: Tensor | None, arguments: dict[int | str, Any], key: int | str
) -> Replacement:
    argument = arguments.get(key)
    if not isinstance(argument, Tensor) or argument.numel() != value.numel():
        found = tuple(argument.shape) if isinstance(argument, Tensor) else type(argument).__name__
        raise PairError(
            site=name,
            found=f"replace={key!r}, which is {found}",
            expected=f"a tensor argument of {value.numel()} values",
            cure=f"give one of {list(arguments)}",
        )
    return Replacement(name, key, argument.shape, mask)


def _equal(a: Tensor, b: Tensor, mask: Tensor | None) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype or a.device != b.device:
        return False
    same = (a == b) | (a.isnan() & b.isnan()) if a.is_floating_point() else a == b
    return bool((same if mask is None else same | ~mask).all())
