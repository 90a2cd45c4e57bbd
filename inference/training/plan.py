"""From the arguments of `fit` to a plan: every one of them is looked at before training begins."""

from __future__ import annotations

import hashlib
import math
import re
import zlib
from collections.abc import Callable
from functools import partial
from operator import index
from typing import Any

import torch
from torch import nn

from inference.errors import PairError
from inference.objectives import Objective, TrainingObjective
from inference.randomness import derive
from inference.tracing import (
    Columns,
    Source,
    TensorSource,
    argument_names,
    bind,
    check_call,
    is_column,
    source,
)
from inference.training.run_folder import RunFolder
from inference.training.session import Plan
from ppl_models.errors import InputError

AUDIT = 256  # observations, at least, on which the bound of training is reported


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
    objective = settings["objective"] or Objective()
    rate, transform = settings["learning_rate"], settings["transform"]
    identity = {
        "pair": f"{title}: {_describe(model, guide)}",
        "data": _digest(first) if isinstance(training, TensorSource) else "loaded",
        "data_size": size,
        "objective": _name(objective),
        "learning_rate": _name(rate) if callable(rate) else rate,
        **{name: settings[name] for name in ("batch_size", "seed", "clip")},
        **({} if transform is None else {"transform": _name(transform)}),
        **({} if settings["updates"] is None else {"updates": _name(settings["updates"])}),
    }
    directory, optimizer = settings["directory"], settings["optimizer"]
    plan = Plan(
        source=training,
        audited=audited,
        validation=judge,
        objective=objective,
        optimizer=optimizer or partial(adam, learning_rate=rate(0) if callable(rate) else rate),
        learning_rate=rate if callable(rate) else None,
        transform=transform,
        data_size=size,
        seed=seed,
        folder=None if directory is None else RunFolder(directory, identity),
        title=title,
        names=names,
        **{
            n: settings[n]
            for n in ("epochs", "patience", "plate", "progress", "on_step", "updates")
        },
    )
    return model, guide, plan


def _name(thing: Any) -> str:
    """What to call a setting, the same in every process."""
    named = getattr(thing, "__qualname__", None)
    return f"{thing.__module__}.{named}" if named else re.sub(r" at 0x\w+", "", repr(thing))


def adam(parameters: list[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    """Make torch's Adam, in its fused form (a quarter of the time on many small tensors)."""
    fused = all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)
    return torch.optim.Adam(parameters, learning_rate, fused=fused)


def check_settings(settings: dict[str, Any]) -> None:
    """Look at the arguments of `fit` that are numbers.

    Raises
    ------
    InputError
        If one is of the wrong kind or size.
    """
    whole = {"epochs": 0, "batch_size": 1, "patience": 1, "data_size": 1, "seed": -math.inf}
    for name, least in whole.items():
        value = settings[name]
        if value is None and name in ("patience", "data_size"):
            continue
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < least:
            bound = "" if least == -math.inf else f" of at least {least}"
            raise InputError(name, repr(value), f"a whole number{bound}", f"{name}={least or 100}")
    for name in ("learning_rate", "clip"):
        value = settings[name]
        if value is None and name == "clip" or callable(value) and name == "learning_rate":
            continue
        if not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise InputError(name, repr(value), "a number above 0", f"{name}=0.001")
    if settings["optimizer"] is not None and not callable(settings["optimizer"]):
        cure = "optimizer=lambda parameters: torch.optim.SGD(parameters, 0.1)"
        seen = f"a {type(settings['optimizer']).__name__}"
        raise InputError("optimizer", seen, "a function that makes one of a list", cure)
    if settings["transform"] is not None and not callable(settings["transform"]):
        seen, cure = f"a {type(settings['transform']).__name__}", "transform=torch.bernoulli"
        raise InputError("transform", seen, "a function of a batch", cure)
    if not isinstance(settings["updates"], nn.Module | None):
        seen, cure = f"a {type(settings['updates']).__name__}", "updates=Aggressive()"
        raise InputError("updates", seen, "a module that says whose turn it is", cure)
    if not isinstance(settings["objective"], TrainingObjective | None):
        seen, cure = repr(settings["objective"]), "objective=Objective('meanfield')"
        raise InputError("objective", seen, "an Objective", cure)
    if settings["resume"] and settings["directory"] is None:
        cure = "directory='runs/mine'"
        raise InputError("directory", "None, with resume=True", "the folder of the run", cure)


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
        seen = f"{validation} of {training.size} observations"
        raise InputError("validation", seen, "some, but not all of them", "validation=0.1")
    return training.split(validation, derive(seed, "split"))


def _data_size(given: int | None, training: Source) -> int:
    """N, which a minibatch stands for."""
    size = training.size if given is None else given
    if size is None:
        cure = "data_size=..., the number of observations in one epoch"
        raise InputError("data_size", "a DataLoader without a length", "a number", cure)
    if size < (training.size or 0):
        seen, cure = f"{size} for {training.size} observations", "leave it out"
        raise InputError("data_size", seen, "at least as many", cure)
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
