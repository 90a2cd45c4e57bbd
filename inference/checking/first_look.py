"""A first look at a pair and a batch, at the cost of a run: `check` and `fit` begin with it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pyro
from pyro.poutine import Trace
from torch import nn

from inference.checking.runs import run
from inference.checking.sites import check_sites
from inference.errors import PairError
from inference.tracing import (
    bind,
    blaming_forms,
    pair_traces,
    refuse_unsteady,
    translated,
    unvalidated,
)


def bound_pair(
    model: Any, guide: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[nn.Module, nn.Module]:
    """Bind a pair to data that it can use (`inference.tracing.bind`).

    Raises
    ------
    PairError
        The pair does not run, or has parameters that it does not own.
    InputError
        The data come in a form that the pair cannot use.
    """
    with (
        blaming_forms(model, guide, args, kwargs),
        unvalidated(),
        translated("a first run of guide and model"),
    ):
        return bind(model, guide, *args, **kwargs)


def first_look(
    model: nn.Module,
    guide: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    densities: bool = True,
) -> tuple[Trace, Trace]:
    """Run a bound pair once and hold its sites against each other, their plates and the data.

    To be called where nothing is left changed (`inference.tracing.untouched`). Without
    ``densities``, sites need none: not every objective asks for them.

    Returns
    -------
    model_trace, guide_trace : Trace
        With log densities.

    Raises
    ------
    PairError
        The pair does not run; or a site is missing, added, of another shape or in other plates, has
        batch dims without a plate, or data that do not fit it; or sites come and go, or their
        supports move.
    InputError
        The data come in a form that the pair cannot use.
    """
    with blaming_forms(model, guide, args, kwargs):
        traces = run(model, guide, args, kwargs)
        try:
            check_sites(*traces)
        except PairError:
            _let_the_pair_say_it(model, guide, args, kwargs)
            raise
        with translated("a second run, with other noise"):
            refuse_unsteady(model, guide, traces, args, kwargs)
        with unvalidated(), translated("computing log densities"):
            for trace in traces if densities else ():
                trace.compute_log_prob()
    return traces


def _let_the_pair_say_it(model: nn.Module, guide: nn.Module, args: Any, kwargs: Any) -> None:
    """Raise what model or guide have against the data in words of their own, if they have any."""
    with pyro.validation_enabled(True), suppress(PairError), translated("a run with validation"):
        pair_traces(model, guide, args, kwargs)
