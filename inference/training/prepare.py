"""From the arguments of `fit` to a plan: every one of them is looked at before training begins."""

from __future__ import annotations

import hashlib
import math
import re
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from operator import index
from typing import Any

import torch
from pyro.infer.autoguide import AutoGuide
from torch import nn

from inference.errors import NonFiniteError, PairError
from inference.objectives import Objective
from inference.randomness import derive
from inference.tracing import (
    Columns,
    FunctionModule,
    Source,
    TensorSource,
    argument_names,
    bind,
    check_call,
    is_column,
    pair_traces,
    quiet,
    refuse_unsteady,
    source,
    unvalidated,
)
from inference.training.plan import Plan
from inference.training.run_folder import RunFolder
from ppl_models.errors import InputError

AUDIT = 256  # observations, at least, on which the bound of training is reported
REPORT_EVERY = 10  # epochs of a single step; a report costs up to half a step
AS_GIVEN = (
    *("objective", "transform", "updates", "epochs", "patience"),
    *("clip", "plate", "progress", "on_step"),
)


def prepare(
    model: Callable[..., Any], guide: Callable[..., Any], data: Any, settings: dict[str, Any]
) -> tuple[nn.Module, nn.Module, Plan]:
    """Look at pair and data, given the arguments of `fit`; return the bound pair and its plan.

    Raises
    ------
    InputError, PairError
        As `fit` does.
    """
    seed, names = index(settings["seed"]), argument_names(model)
    title = getattr(model, "__name__", type(model).__name__)
    training, judge = _sources(data, settings["validation"], settings["batch_size"], names, seed)
    size = _data_size(settings["data_size"], training)
    audited = training.part(max(AUDIT, size // 32), derive(seed, "audit"))
    first = next(audited.batches(derive(seed, "audit")))
    model, guide = _bound(model, guide, first.changed(settings["transform"]))
    rate, directory = settings["learning_rate"], settings["directory"]
    settings = {**settings, "objective": settings["objective"] or Objective()}
    identity = {
        "pair": f"{title}: {_describe(model, guide)}",
        "data": _digest(first) if isinstance(training, TensorSource) else "loaded",
        "data_size": size,
        **_identity(settings),
    }
    plan = Plan(
        source=training,
        audited=audited,
        validation=judge,
        optimizer=settings["optimizer"] or partial(adam, learning_rate=rate),
        learning_rate=rate if callable(rate) else None,
        data_size=size,
        report_every=_report_every(training, settings),
        seed=seed,
        folder=None if directory is None else RunFolder(directory, identity),
        title=title,
        names=names,
        **{name: settings[name] for name in AS_GIVEN},
    )
    return model, guide, plan


def _identity(settings: dict[str, Any]) -> dict[str, Any]:
    """What of the settings makes a run another one."""
    rate = settings["learning_rate"]
    named = {name: settings[name] for name in ("transform", "updates")}
    return {
        "objective": _name(settings["objective"]),
        "learning_rate": _name(rate) if callable(rate) else rate,
        **{name: settings[name] for name in ("batch_size", "seed", "clip")},
        **{name: _name(value) for name, value in named.items() if value is not None},
    }


def _report_every(training: Source, settings: dict[str, Any]) -> int:
    """Epochs from report to report: 1, unless an epoch is a single step and no report decides."""
    if settings["report_every"] is not None:
        return index(settings["report_every"])
    decides = any(settings[name] is not None for name in ("validation", "patience", "updates"))
    return 1 if decides or training.steps != 1 else REPORT_EVERY


def _name(thing: Any) -> str:
    """What to call a setting, the same in every process."""
    named = getattr(thing, "__qualname__", None)
    return f"{thing.__module__}.{named}" if named else re.sub(r" at 0x\w+", "", repr(thing))


def adam(
    parameters: list[nn.Parameter], learning_rate: float | Callable[[int], float]
) -> torch.optim.Optimizer:
    """Make torch's Adam, in its fused form (a quarter of the time on many small tensors)."""
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)
    rate = learning_rate(0) if callable(learning_rate) else learning_rate
    return torch.optim.Adam(parameters, rate, fused=fused)


def _sources(
    data: Any, validation: Any, batch_size: int, names: tuple[str, ...], seed: int
) -> tuple[Source, Source | None]:
    """Make the batches to train on, and those to judge by."""
    training = source(data, "data", batch_size, names)
    if not isinstance(validation, float):
        judge = None if validation is None else source(validation, "validation", batch_size, names)
        if isinstance(judge, TensorSource):
            judge.shuffled = False
        return training, judge
    if not isinstance(training, TensorSource):
        cure = "give a second DataLoader as validation"
        raise InputError("validation", "a fraction of a DataLoader", "data of their own", cure)
    if not 0 < validation < 1 or training.size < 2:
        found = f"{validation} of {training.size} observations"
        raise InputError("validation", found, "some, but not all of them", "validation=0.1")
    return training.split(validation, derive(seed, "split"))


def _data_size(given: int | None, training: Source) -> int:
    """N, which a minibatch stands for."""
    size = training.size if given is None else given
    if size is None:
        cure = "data_size=..., the number of observations in one epoch"
        raise InputError("data_size", "a DataLoader without a length", "a number", cure)
    if size < (training.size or 0):
        found, cure = f"{size} for {training.size} observations", "leave it out"
        raise InputError("data_size", found, "at least as many", cure)
    return size


def _bound(
    model: Callable[..., Any], guide: Callable[..., Any], first: Columns
) -> tuple[nn.Module, nn.Module]:
    """Bind the pair to the arguments of a first batch, which it must take."""
    for role, part in (("model", model), ("guide", guide)):
        check_call(role, part, first)
    parts = [part for part in (model, guide) if isinstance(part, nn.Module)]
    devices = {p.device for part in parts for p in part.parameters()}
    first = first.to(devices.pop()) if len(devices) == 1 else first
    pair = bind(model, guide, *first.args, **first.kwargs)
    _look(*pair, first)
    if not any(p.requires_grad for part in pair for p in part.parameters()):
        cure = "give the guide parameters: nn.Parameter, or pyro.param in a plain function"
        raise PairError(None, "no parameter to train in model or guide", "at least one", cure)
    return pair


def _describe(model: nn.Module, guide: nn.Module) -> str:
    """Say what a pair's parameters are, and a fingerprint of their names and shapes."""
    state = {"model": model.state_dict(), "guide": guide.state_dict()}
    shapes = [
        (role, name, tuple(getattr(tensor, "shape", ())))
        for role, tensors in state.items()
        for name, tensor in tensors.items()
    ]
    total = sum(math.prod(shape) for _, _, shape in shapes)
    mark = hashlib.blake2b(repr(shapes).encode(), digest_size=4).hexdigest()
    return f"{len(shapes)} tensors of {total:,} numbers ({mark})"


def _digest(batch: Columns) -> str:
    """A mark of the first rows of the data."""
    mark = 0
    for value in (*batch.args, *batch.kwargs.values()):
        if is_column(value):
            numbers = value[:64].detach().cpu().contiguous().flatten().view(torch.uint8)
            mark = zlib.crc32(numbers.numpy().tobytes(), mark)
    return f"marked {mark:08x}"


def _look(model: nn.Module, guide: nn.Module, first: Columns) -> None:
    """Refuse sites that come and go, and supports that move, where a user's function may have them.

    Of anything else that goes wrong training says what and where.
    """
    if not any(isinstance(part, (AutoGuide, FunctionModule)) for part in guide.modules()):
        return
    with quiet(model, guide, seed=0), suppress(NonFiniteError):
        try:
            with unvalidated():
                traces = pair_traces(model, guide, first.args, first.kwargs)
            refuse_unsteady(model, guide, traces, first.args, first.kwargs)
        except PairError:
            raise
        except Exception:
            return
