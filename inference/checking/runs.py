"""Running a pair as inference does, and looking at what comes of it."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine import Trace
from pyro.poutine.guide import GuideMessenger
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor, nn

from inference.errors import PairError
from inference.objectives import Objective
from inference.randomness import reseed
from inference.tracing import (
    FlatPriors,
    Unconditioned,
    count_nonfinite,
    find_nonfinite,
    pair_traces,
    sample_sites,
    signature_of,
    translated,
    unvalidated,
)


def check_signatures(model: Any, guide: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Model and guide both take the data, under the same names in the same order.

    Raises
    ------
    PairError
        Otherwise.
    """
    named = []
    for role, fn in (("model", model), ("guide", guide)):
        signature = signature_of(fn)
        if signature is None:
            continue
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            given = ", ".join(
                [*("tensor" if isinstance(a, Tensor) else "value" for a in args), *kwargs]
            )
            raise PairError(
                None,
                f"the {role} takes {signature}, and was given ({given}): {error}",
                "a model and a guide that both take the data",
                f"give the {role} the arguments of the other, in the same order",
            ) from None
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        named.append([p.name for p in signature.parameters.values() if p.kind in kinds])
    if len(named) == 2 and named[0] != named[1] and sorted(named[0]) == sorted(named[1]):
        raise PairError(
            None,
            f"the model takes {named[0]}, the guide {named[1]}",
            "the same arguments in the same order",
            "reorder the arguments of one of them",
        )


def run(model: nn.Module, guide: nn.Module, args: Any, kwargs: Any) -> tuple[Trace, Trace]:
    """Run guide and model once, without enumeration or validation of distributions.

    Raises
    ------
    PairError
        Either fails, or keeps parameters in Pyro's global store.
    """
    with unvalidated():
        if isinstance(poutine.unwrap(guide), GuideMessenger):
            with translated("the guide, which runs the model"):
                traces = pair_traces(model, guide, args, kwargs)
        else:
            with translated("the guide, run by itself"):
                guide_trace = poutine.trace(guide).get_trace(*args, **kwargs)
            with translated("the model, run on the guide's draws"):
                replayed = poutine.replay(model, trace=guide_trace)
                model_trace = poutine.trace(replayed).get_trace(*args, **kwargs)
            traces = prune_subsample_sites(model_trace), prune_subsample_sites(guide_trace)
    for name in pyro.get_param_store():
        module = name.split("$$$")[0]
        what = f"pyro.module('{module}', ...)" if "$$$" in name else f"pyro.param('{name}', ...)"
        raise PairError(
            module,
            f"{what} inside an nn.Module",
            "parameters of the module itself, not of Pyro's global store",
            f"write self.{module} = nn.Parameter(...), PyroParam(...) or a submodule in __init__",
        )
    return traces


def check_finite(model_trace: Trace, guide_trace: Trace) -> None:
    """Every log density is finite.

    Raises
    ------
    NonFiniteError
        For the first site, guide first, whose log density is not.
    PairError
        One cannot be computed.
    """
    with unvalidated(), translated("computing log densities"):
        found = find_nonfinite(model_trace, guide_trace)
    if found is not None:
        raise found


def check_repeats(first: tuple[Trace, Trace], second: tuple[Trace, Trace]) -> None:
    """Two calls from one seed agree at every site.

    Raises
    ------
    PairError
        Otherwise: the second call sees state that the first left.
    """
    for role, trace, again in zip(("guide", "model"), first[::-1], second[::-1], strict=True):
        sites, others = sample_sites(trace), sample_sites(again)
        if list(sites) != list(others):
            changed = sorted(set(sites) ^ set(others)) or list(sites)
            raise _stateful(changed[0], f"sites {list(sites)}, then {list(others)} in the {role}")
        with unvalidated():
            again.compute_log_prob()
        for name, site in sites.items():
            if not _alike(site["value"], others[name]["value"]):
                raise _stateful(name, f"two draws that differ, from the same seed, in the {role}")
            one, two = site["log_prob"], others[name]["log_prob"]
            if not _alike(one, two):
                densities = f"log density {one.sum():.6g}, then {two.sum():.6g} from the same seed"
                raise _stateful(name, f"{densities}, in the {role}")


def _alike(one: Tensor, two: Tensor) -> bool:
    return one.shape == two.shape and torch.allclose(
        one.double(), two.double(), rtol=1e-4, atol=1e-5, equal_nan=True
    )


def _stateful(name: str, found: str) -> PairError:
    return PairError(
        name,
        found,
        "the same densities on every call: no call sees state that an earlier one left",
        "keep no counters, caches or running values in the module that change what it computes",
    )


def check_prior(model: nn.Module, args: Any, kwargs: Any) -> None:
    """The model simulates data like those given.

    Raises
    ------
    PairError
        It fails to, or the simulated data have another shape or are not finite.
    """
    simulator = poutine.trace(FlatPriors()(Unconditioned()(model)))
    with unvalidated(), translated("simulating from the prior", "use the data only as obs="):
        trace = simulator.get_trace(*args, **kwargs)
    for name, site in sample_sites(trace).items():
        infer, value = site["infer"], site["value"]
        if not infer.get("was_observed") or infer.get("_deterministic") or not value.numel():
            continue
        if not value.isfinite().all():
            raise PairError(
                name,
                f"simulated from the prior, {count_nonfinite(value)}",
                "finite simulated data",
                "bound scales and rates in the model, or take narrower priors",
            )
        if value.shape != infer["obs"].shape:
            raise PairError(
                name,
                f"shape {tuple(value.shape)} simulated, {tuple(infer['obs'].shape)} observed",
                "simulated data of the shape of the data",
                "give the distribution, with its plates, the shape of the data",
            )


def unreached(loss: Tensor, model: nn.Module, guide: nn.Module) -> list[str]:
    """Names of the parameters that the gradient of a loss does not reach."""
    named = {
        f"{role}.{name}": parameter
        for role, module in (("model", model), ("guide", guide))
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }
    if not named or not loss.requires_grad:
        return list(named)
    grads = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return [name for name, grad in zip(named, grads, strict=True) if grad is None]


def check_reached(loss: Tensor, model: nn.Module, guide: nn.Module) -> None:
    """The gradient of a loss reaches every parameter.

    Raises
    ------
    PairError
        It does not, for the first parameter.
    """
    if names := unreached(loss, model, guide):
        raise PairError(
            names[0],
            f"no gradient of the bound reaches {len(names)} parameters: {', '.join(names[:8])}",
            "a gradient for every parameter",
            "use them in a density, remove them, freeze them by requires_grad_(False), "
            "or pass the data that need them; look for .detach() and torch.no_grad()",
        )


def run_objective(
    model: nn.Module, guide: nn.Module, args: Any, kwargs: Any, plate: str | None, seed: int
) -> tuple[Tensor, Tensor | None, list[str]]:
    """The bound (mean, nats per observation), the loss if there are parameters, Pyro's remarks.

    Raises
    ------
    PairError
        Pyro refuses the pair, enumerated and validated.
    """
    objective, parameters = Objective(), [*model.parameters(), *guide.parameters()]
    learns = any(parameter.requires_grad for parameter in parameters)
    cure = (
        "an enumerated site's value has dims to the left of all plates, (K, 1, ...): "
        "index with pyro.ops.indexing.Vindex, and rely on no shape of it"
    )
    with warnings.catch_warnings(record=True) as remarks, pyro.validation_enabled(True):
        warnings.simplefilter("always")
        with translated("the bound, with Pyro's validation", cure):
            reseed(seed)
            bound = objective.bound(model, guide, args, kwargs, plate=plate).mean()
            reseed(seed)
            loss = _loss(objective, model, guide, args, kwargs, plate) if learns else None
    notes = {str(remark.message).splitlines()[0] for remark in remarks}
    return bound, loss, sorted(notes)


def _loss(objective: Objective, model: Any, guide: Any, *call: Any) -> Tensor:
    args, kwargs, plate = call
    try:
        return objective.loss(model, guide, args, kwargs, plate=plate)
    except ValueError as error:
        if "cannot be differentiated" not in str(error):
            raise
        return torch.zeros(())  # no gradient at all: every parameter is unreached


def reached(site: Any, role: str, module: nn.Module | Callable[..., Any]) -> list[str]:
    """Names of the module's parameters that the gradient of a site's log density reaches."""
    named = dict(module.named_parameters()) if isinstance(module, nn.Module) else {}
    named = {name: p for name, p in named.items() if p.requires_grad}
    total = site["log_prob_sum"]
    if not named or not isinstance(total, Tensor) or not total.requires_grad:
        return []
    grads = torch.autograd.grad(total, list(named.values()), retain_graph=True, allow_unused=True)
    return [f"{role}.{name}" for name, grad in zip(named, grads, strict=True) if grad is not None]
