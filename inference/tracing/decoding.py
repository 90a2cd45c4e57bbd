"""Joint draws and modes of enumerated sites, of whatever values they have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pyro import poutine
from pyro.infer.discrete import _sample_posterior_from_trace
from pyro.poutine import Trace
from pyro.poutine.enum_messenger import EnumMessenger
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor

from inference.tracing.sites import sample_sites


def sampled(model: Callable[..., Any], first_available_dim: int) -> Callable[..., Any]:
    """Draw a model's enumerated sites from their posterior: ``pyro.infer.infer_discrete``.

    Unlike it, this takes sites whose values are vectors (``OneHotCategorical``).

    Parameters
    ----------
    model
        All other sites of it are observed, or conditioned upon.
    first_available_dim
        The first dim, counted from the right, that no plate uses.
    """

    def run(*args: Any, **kwargs: Any) -> Any:
        with poutine.block(), EnumMessenger(first_available_dim):
            trace = prune_subsample_sites(poutine.trace(model).get_trace(*args, **kwargs))
        trace.compute_log_prob()
        trace.pack_tensors()
        return decode(model, trace, 1, args, kwargs)

    return run


def decode(
    model: Callable[..., Any],
    trace: Trace,
    temperature: int,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Run a model on the joint mode (temperature 0) or a joint draw (1) of its enumerated sites.

    Parameters
    ----------
    model
        The model.
    trace
        Of it, enumerated; its log densities are computed and packed.
    """
    vectors = {
        name: site["value"]
        for name, site in sample_sites(trace).items()
        if site["infer"].get("_enumerate_dim") is not None and site["fn"].event_dim
    }
    indexed = trace.copy()
    indexed.plate_to_symbol = trace.plate_to_symbol
    indexed.symbol_to_dim = trace.symbol_to_dim
    for name in vectors:  # Pyro gathers numbers only
        site: Any = trace.nodes[name]
        batch = site["value"].shape[: site["value"].dim() - site["fn"].event_dim]
        indexed.nodes[name] = {**site, "value": torch.arange(batch.numel()).reshape(batch)}
    with _Values(vectors):
        return _sample_posterior_from_trace(model, indexed, temperature, False, *args, **kwargs)


class _Values(Messenger):
    """Give sites, drawn by index, the value of that index."""

    def __init__(self, values: dict[str, Tensor]) -> None:
        super().__init__()
        self.values = values

    def _pyro_sample(self, msg: Any) -> None:
        values = self.values.get(msg["name"])
        if values is not None and not msg["is_observed"]:
            event = msg["fn"].event_shape
            msg["value"] = values.reshape(-1, *event)[msg["value"]]
