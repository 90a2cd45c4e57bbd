"""The arguments of `fit` that need no look at pair or data."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from inference.objectives import TrainingObjective
from inference.training.optimizers import check_optimizer
from ppl_models.errors import InputError

OPTIONAL = ("patience", "data_size", "report_every")


def check_settings(settings: dict[str, Any]) -> None:
    """Look at each argument of `fit` that can be judged without its pair and data.

    Raises
    ------
    InputError
        If one is of the wrong kind or size.
    """
    _check_numbers(settings)
    optimizer, transform, updates = (settings[n] for n in ("optimizer", "transform", "updates"))
    check_optimizer(optimizer)
    if transform is not None and not callable(transform):
        found, cure = f"a {type(transform).__name__}", "transform=torch.bernoulli"
        raise InputError("transform", found, "a function of a batch", cure)
    if not isinstance(updates, nn.Module | None):
        found, cure = f"a {type(updates).__name__}", "updates=Aggressive()"
        raise InputError("updates", found, "a module that says whose turn it is", cure)
    if not isinstance(settings["objective"], TrainingObjective | None):
        found, cure = repr(settings["objective"]), "objective=Objective('meanfield')"
        raise InputError("objective", found, "an Objective", cure)
    if not isinstance(settings["index"], str | None):
        found, cure = f"a {type(settings['index']).__name__}", "index='index'"
        raise InputError("index", found, "the name of an argument of model and guide", cure)
    if settings["resume"] and settings["directory"] is None:
        cure = "directory='runs/mine'"
        raise InputError("directory", "None, with resume=True", "the folder of the run", cure)


def _check_numbers(settings: dict[str, Any]) -> None:
    whole = {"epochs": 0, "batch_size": 1, **dict.fromkeys(OPTIONAL, 1), "seed": -math.inf}
    for name, least in whole.items():
        value = settings[name]
        if value is None and name in OPTIONAL:
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
