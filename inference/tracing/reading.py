"""One reading of a pair: the guide is run, and the model on its draws."""

from __future__ import annotations

from typing import Any

from pyro import poutine
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from pyro.poutine.guide import GuideMessenger
from pyro.poutine.util import is_validation_enabled

from inference.tracing.handlers import Sites
from inference.tracing.layout import Layout, open_traces
from inference.tracing.sites import sample_sites
from inference.tracing.terms import Terms, rows_of
from inference.tracing.traces import plated

Sitemap = dict[str, Any]


def run_pair(
    model: Any,
    guide: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    nesting: int,
    closed_form: bool = False,
) -> tuple[Sitemap, Sitemap]:
    """Draw once from a guide, and run its model on the draw; return the sample sites of both.

    With Pyro's validation on, its own checks of shapes and sites are made, on its own traces; else
    nothing is checked, and no trace is made.

    Parameters
    ----------
    model, guide
        A pair; no site is enumerated.
    args, kwargs
        The data, as both take them.
    nesting
        Batch dims that plates use.
    closed_form
        Whether KL divergences are wanted in closed form: of that, too, Pyro's checks are made.
    """
    if is_validation_enabled():
        kind = TraceMeanField_ELBO if closed_form else Trace_ELBO
        p, q = kind(max_plate_nesting=nesting)._get_trace(model, guide, args, kwargs)
        return sample_sites(q), sample_sites(p)
    return collect_sites(model, guide, args, kwargs)


def collect_sites(
    model: Any, guide: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Sitemap, Sitemap]:
    """Do as `run_pair`, without any check."""
    if isinstance(poutine.unwrap(guide), GuideMessenger):  # it runs the model itself
        model_trace, guide_trace = open_traces(model, guide, args, kwargs)
        return sample_sites(guide_trace), sample_sites(model_trace)
    with Sites() as q:
        guide(*args, **kwargs)
    with Sites(q.sites) as p:
        model(*args, **kwargs)
    return sample_sites(q.sites), sample_sites(p.sites)


def read_pair(
    model: Any,
    guide: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    shape: Layout,
    closed_form: bool = False,
) -> Terms:
    """Return the terms of one draw; arguments as for `run_pair`, with the pair's layout."""
    q, p = run_pair(model, guide, args, kwargs, shape.max_plate_nesting, closed_form)
    return Terms(tuple(rows_of(q, p)), None if shape.plate is None else shape.plate.name)


def read_draws(
    model: Any,
    guide: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    plate: str,
    draws: int | None,
    nesting: int,
) -> Terms:
    """Return the terms of several draws, made at once under an outer plate; of one, if None."""
    model, guide = plated(model, draws, nesting), plated(guide, draws, nesting)
    q, p = collect_sites(model, guide, args, kwargs)
    return Terms(tuple(rows_of(q, p)), plate, draws or 1, nesting)
