"""Why a loss is not finite: the datum, the parameter or the site it comes from."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine import Trace
from pyro.poutine.enum_messenger import EnumMessenger
from torch import Tensor, nn

from inference.errors import NonFiniteError
from inference.tracing.layout import pair_traces, plate_nesting, untouched
from inference.tracing.sites import sample_sites
from inference.tracing.wrappers import unwrapped


def find_cause(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
) -> NonFiniteError:
    """Find what makes the bound of a pair NaN or infinite: the parameter or the site.

    Looks, in this order, at the parameters, at the guide's sites and at the model's, in the order
    they are reached: the first is the cause, the others follow from it. Enumerated sites are tried
    at all their values. Nothing is changed.
    """
    found = _in_parameters(model=model, guide=guide)
    if found is None:
        with untouched(model, guide), torch.no_grad(), unvalidated():
            traces = pair_traces(model, guide, args, kwargs or {})
            found = find_nonfinite(*traces) or _enumerated(model, *traces, args, kwargs or {})
    return found or NonFiniteError(
        None,
        "a loss that is not finite, though parameters and log densities of a new draw are",
        "a finite loss",
        "lower the learning rate, or clip gradients (fit(..., clip=1.0))",
    )


def find_nonfinite(model_trace: Trace, guide_trace: Trace) -> NonFiniteError | None:
    """Return the error for the first site with a non-finite log density, guide first, or None."""
    return _in_trace(guide_trace, "guide") or _in_trace(model_trace, "model")


def _enumerated(
    model: Callable[..., Any], model_trace: Trace, guide_trace: Trace, args: Any, kwargs: Any
) -> NonFiniteError | None:
    """Look at every value of the enumerated sites, of which a plain run draws one."""
    first = -1 - plate_nesting(model_trace, guide_trace)
    tried = poutine.replay(EnumMessenger(first)(model), trace=guide_trace)
    with poutine.block():
        trace = poutine.trace(tried).get_trace(*args, **kwargs)
    return _in_trace(trace, "model", impossible=True)


@contextmanager
def unvalidated() -> Iterator[None]:
    """Let distributions with impossible parameters be made, so that their site can be named."""
    with warnings.catch_warnings(), pyro.validation_enabled(False):
        warnings.simplefilter("ignore", UserWarning)
        yield


def _in_parameters(**modules: Any) -> NonFiniteError | None:
    for role, module in modules.items():
        for name, value in module.named_parameters() if isinstance(module, nn.Module) else ():
            if not value.isfinite().all():
                return NonFiniteError(
                    f"{role}.{name}",
                    f"{count_nonfinite(value)} in this parameter of the {role}",
                    "finite parameters",
                    "lower the learning rate, or clip gradients (fit(..., clip=1.0)), "
                    "and start again from the last good weights",
                )
    return None


def _in_trace(trace: Trace, role: str, impossible: bool = False) -> NonFiniteError | None:
    """Look for a non-finite log density; -inf is none where impossible values are tried too."""
    trace.compute_log_prob()
    for name, site in sample_sites(trace).items():
        fine = site["log_prob"].isfinite() | (impossible & site["log_prob"].isneginf())
        if not fine.all():
            found = f"{count_nonfinite(site['log_prob'])} in the {role}'s log density"
            return NonFiniteError(name, found + _culprit(site), "finite log densities", _cure(site))
    return None


def count_nonfinite(value: Tensor) -> str:
    """Say how many elements of a tensor are NaN or infinite, and where the first is."""
    bad = ~value.detach().isfinite()
    first = tuple(bad.nonzero()[0].tolist())
    where = f", the first ({value[first]:g}) at index {first}" if first else f" ({value:g})"
    return f"{int(bad.sum())} of {value.numel()} elements are not finite{where}"


def _culprit(site: Any) -> str:
    """Name the value or the distribution's parameter that is non-finite or out of bounds."""
    if isinstance(site["value"], Tensor) and not site["value"].isfinite().all():
        return "; its value: " + count_nonfinite(site["value"])
    fn = unwrapped(site["fn"])
    for name, constraint in getattr(fn, "arg_constraints", {}).items():
        value = vars(fn).get(name)
        if isinstance(value, Tensor) and not constraint.check(value).all():
            return f"; its {type(fn).__name__}'s {name} is not {constraint}"
    return ""


def _cure(site: Any) -> str:
    if site["is_observed"]:
        return "look for NaN in the data, for data outside the support, and for scales near 0"
    return "bound the scale away from 0 (softplus plus 1e-4), or lower the learning rate"


@contextmanager
def no_warnings() -> Iterator[None]:
    """Keep Pyro's NaN warnings back: who calls looks at the value, and `find_cause` says."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Encountered (NaN|[+-]inf)", UserWarning)
        yield
