"""The optimiser of a run: torch's, made by a function of parameters, or as Pyro writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from pyro.optim import PyroLRScheduler, PyroOptim
from pyro.optim.multi import MultiOptimizer
from torch import nn

from ppl_models.errors import InputError

MakeOptimizer = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
_CURE = "optimizer=lambda parameters: torch.optim.Adam(parameters, lr=1e-3)"
_EXPECTED = "a function of a list of parameters that returns a torch.optim.Optimizer"


def check_optimizer(optimizer: Any) -> None:
    """Look at what makes an optimiser, before there is anything to optimise.

    Raises
    ------
    InputError
        It is no function; or it is one of Pyro's that does what `fit` has arguments for.
    """
    kind = f"a {type(optimizer).__name__}"
    if optimizer is None:
        return
    if isinstance(optimizer, PyroLRScheduler):
        cure = (
            "pyro.optim.Adam({'lr': 0.01}), and a schedule of rates as learning_rate=, such as "
            "learning_rate=lambda step: 0.01 * 0.1 ** (step / 1000)"
        )
        raise InputError("optimizer", f"{kind}, whose step nobody calls", _EXPECTED, cure)
    if isinstance(optimizer, PyroOptim) and optimizer.pt_clip_args:
        cure = (
            "leave out the clip_args of the pyro.optim object, and clip all by fit(..., clip=10.0)"
        )
        raise InputError("optimizer", f"{kind} with clip_args", "no clip_args", cure)
    if isinstance(optimizer, MultiOptimizer) or not callable(optimizer):
        raise InputError("optimizer", kind, _EXPECTED, _CURE)


def make_optimizer(
    optimizer: MakeOptimizer | PyroOptim, named: Mapping[str, nn.Parameter]
) -> torch.optim.Optimizer:
    """Make the optimiser of these parameters.

    An object of `pyro.optim` is read as what it says: the constructor of a torch optimiser, and its
    arguments, the same for all parameters or a function of a parameter's name. The name is that in
    the module of model or guide; of a `pyro.param`, its own.

    Raises
    ------
    InputError
        The function makes no optimiser.
    """
    if isinstance(optimizer, PyroOptim):
        return _of_pyro(optimizer, named)
    made = optimizer(list(named.values()))
    if not isinstance(made, torch.optim.Optimizer):
        found = f"a function that returned {'None' if made is None else f'a {type(made).__name__}'}"
        raise InputError("optimizer", found, _EXPECTED, _CURE)
    return made


def _of_pyro(optimizer: PyroOptim, named: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
    make, arguments = optimizer.pt_optim_constructor, optimizer.pt_optim_args
    if not callable(arguments):
        return make(list(named.values()), **arguments)  # type: ignore[operator]
    several = optimizer.pt_optim_args_argc == 2  # of a module's name and a parameter's
    groups = []
    for name, parameter in named.items():
        role, _, own = name.partition(".")
        own = own.removesuffix("_unconstrained")
        mine = arguments(role, own) if several else arguments(own)
        groups.append({"params": [parameter], **mine})
    common = {k: v for k, v in groups[0].items() if k != "params"} if groups else {}
    return make(groups, **common)  # type: ignore[operator]
