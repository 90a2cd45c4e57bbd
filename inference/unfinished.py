"""Guides that have no parameters before they are run: weights that wait for the first run.

An AutoGuide of Pyro makes its parameters when it first meets data. Weights that are loaded into one
before that are kept, and filled in at its first run, whoever makes it, before it draws anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoGuide
from pyro.infer.autoguide.effect import AutoMessenger
from torch import Tensor, nn

Fill = Callable[[nn.Module, Mapping[str, Tensor]], None]


def unfinished(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the parts that make their parameters at their first run, by the heads of their names.

    A head is empty, or ends in a dot. Parts of an unfinished part are finished with it.
    """
    heads: list[str] = []
    for name, part in module.named_modules():
        inside = any(name.startswith(head) for head in heads)
        if _is_unfinished(part) and not inside:
            heads.append(f"{name}." if name else "")
            yield heads[-1], part


def _is_unfinished(part: nn.Module) -> bool:
    if isinstance(part, AutoGuide):
        return part.prototype_trace is None
    return isinstance(part, AutoMessenger) and not any(True for _ in part.parameters())


def fill_later(part: nn.Module, tensors: Mapping[str, Tensor], fill: Fill) -> None:
    """Let a part fill itself at its first run; until then, ``state_dict`` has what is to come.

    Parameters
    ----------
    part
        Unfinished.
    tensors
        Its state.
    fill
        Fills a finished part, or raises.
    """
    kind: Any = type(part)
    kind = getattr(kind, "_finished", kind)
    waiting = dict(tensors)

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        object.__setattr__(self, "__class__", kind)
        try:
            _run_once(self, args, kwargs)
            fill(self, waiting)
        except BaseException:  # nothing was filled: the next run tries again
            object.__setattr__(self, "__class__", later)
            raise
        return self(*args, **kwargs)

    def state_dict(self: Any, *args: Any, **kwargs: Any) -> Any:
        state = kind.state_dict(self, *args, **kwargs)
        head = kwargs.get("prefix", "")
        state.update({head + name: tensor for name, tensor in waiting.items()})
        return state

    held = {"__call__": call, "state_dict": state_dict, "_finished": kind}
    later = type(kind)(kind.__name__, (kind,), held)
    object.__setattr__(part, "__class__", later)


def _run_once(part: Any, args: Any, kwargs: Any) -> None:
    """Let a part make its parameters, unseen."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    # AutoGuides run the user's own function, whose pyro.param they refuse in local mode
    local = not isinstance(part, AutoGuide)
    with torch.random.fork_rng(devices=list(devices)), poutine.block():
        with pyro.get_param_store().scope(), pyro.settings.context(module_local_params=local):
            part(*args, **kwargs)
