"""NaN and infinite numbers in data: where they are, and whether they are to blame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from inference.errors import NonFiniteError
from inference.tracing.arguments import argument_names, named, signature_of
from inference.tracing.data import Columns, is_column
from inference.tracing.nonfinite import find_cause


def nonfinite_rows(data: Columns, names: tuple[str, ...]) -> str:
    """Say which columns hold NaN or infinite numbers, in how many rows, and where first."""
    found = []
    for name, value in named(data.args, data.kwargs, names):
        if is_column(value) and not (good := value.isfinite()).all():
            bad = int((~good).reshape(len(value), -1).any(1).sum())
            first = (~good).nonzero()[0].tolist()
            said = f"{name} is NaN or infinite in {bad:,} of {len(value):,} rows, first in row "
            said += f"{first[0]:,}" + (f" at index {tuple(first)}" if len(first) > 1 else "")
            if value.isinf().any():
                said += f" (a number beyond {torch.finfo(value.dtype).max:.2g} is infinite there)"
            found.append(said)
    return ", ".join(found)


def filled(data: Columns) -> Columns:
    """The same with a finite number of its own column wherever a number is not finite."""

    def fill(value: Any) -> Any:
        if not is_column(value) or value.isfinite().all():
            return value
        finite = value[value.isfinite()]
        usual = finite.median() if finite.numel() else value.new_zeros(())
        return torch.where(value.isfinite(), value, usual)

    return data.mapped(fill)


def explain_nonfinite(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
) -> NonFiniteError:
    """Find what makes the bound of a pair NaN or infinite, and return the error that says so.

    Looks, in this order, at the parameters, at the guide's sites and at the model's, in the order
    they are reached: the first is the cause, the others follow from it. Enumerated sites are tried
    at all their values. Nothing is changed.

    The cure is one for the data if the same pair is finite once their NaN and infinite numbers are
    filled; not where these lie under a mask that hides them, and the loss has another fault.

    Parameters
    ----------
    model, guide
        A pair of modules.
    args, kwargs
        The data, as both take them.

    Returns
    -------
    NonFiniteError
        ``site`` is the parameter or sample site. To be raised by who asked.
    """
    error, names = find_cause(model, guide, args, kwargs), argument_names(model)
    batch = Columns(args, kwargs or {}, 0)
    bad = [name for name, value in named(args, batch.kwargs, names) if _is_bad(value)]
    if error.site is None or not bad:
        return error
    whole = filled(batch)
    if find_cause(model, guide, whole.args, whole.kwargs).site is not None:
        return error
    name = bad[0] if bad[0].isidentifier() else "x"
    return NonFiniteError(error.site, error.found, "finite data", _cure(name, model, batch))


def _is_bad(value: Any) -> bool:
    return is_column(value) and not bool(value.isfinite().all())


def _cure(name: str, model: Callable[..., Any], batch: Columns) -> str:
    """Drop, fill or, where the model takes a mask, say what is missing."""
    whole = f"{name}.isfinite()"
    cure = (
        f"fill them: torch.where({whole}, {name}, 0.0); or drop these rows, of all data alike: "
        f"{name}[{whole}.reshape(len({name}), -1).all(1)]; or fill and mask them"
    )
    takes = [n for n in _all_names(model) if n in ("mask", "observed") and n not in batch.kwargs]
    if takes:
        cure += f"; or say what is missing: {'= or '.join(takes)}= True where there are data"
    others = [n for n, v in batch.kwargs.items() if isinstance(v, Tensor) and n not in takes]
    return cure + (f", or leave {name!r} out" if takes and len(others) > 1 else "")


def _all_names(model: Callable[..., Any]) -> tuple[str, ...]:
    signature = signature_of(model)
    return tuple(signature.parameters) if signature else ()
