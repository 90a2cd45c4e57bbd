"""The tensors of modules by name, and tensors of a file into modules: compared, then copied."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from inference.errors import CheckpointError

File = str | os.PathLike[str]
Modules = nn.Module | Mapping[str, nn.Module]


def named(modules: Modules) -> dict[str, nn.Module]:
    """Modules by the head of their tensors' names."""
    if isinstance(modules, nn.Module):
        return {"": modules}
    return {f"{name}.": module for name, module in modules.items()}


def state_of(modules: Modules, path: File) -> dict[str, Tensor]:
    """The state of the modules by full name."""
    parts = named(modules).items()
    state = {head + name: item for head, m in parts for name, item in m.state_dict().items()}
    for name, item in state.items():
        if not isinstance(item, Tensor):
            found = f"{name} is a {type(item).__name__}"
            raise CheckpointError(path, found, "tensors only", "keep other state out of state_dict")
    return state


def fill(into: Modules, tensors: Mapping[str, Tensor], path: File) -> None:
    """Copy the tensors into the modules, after every name and shape has been compared."""
    from inference.unfinished import fill_later, unfinished  # Pyro: a file can be read without it

    waiting = {
        head + inner: part
        for head, module in named(into).items()
        for inner, part in unfinished(module)
    }
    heads = tuple(waiting)
    own = {n: v for n, v in state_of(into, path).items() if not (heads and n.startswith(heads))}
    ready = {n: v for n, v in tensors.items() if not (heads and n.startswith(heads))}
    _compare(own, ready, path)
    for head, module in named(into).items():
        mine = {n.removeprefix(head): ready[n] for n in own if n.startswith(head)}
        module.load_state_dict(mine, strict=False)
    for head, part in waiting.items():
        later = {n.removeprefix(head): v for n, v in tensors.items() if n.startswith(head)}
        fill_later(part, later, partial(fill, path=path))


def _compare(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: File) -> None:
    """Refuse tensors of other names and shapes than the modules have."""
    wrong = [f"{name} is not in the file" for name in own if name not in tensors]
    wrong += [f"{name} is in the file only" for name in tensors if name not in own]
    wrong += [
        f"{name} is {tuple(tensors[name].shape)} in the file, {tuple(item.shape)} in the module"
        for name, item in own.items()
        if name in tensors and tensors[name].shape != item.shape
    ]
    wrong += [
        f"{name} is {tensors[name].dtype} in the file, {item.dtype} in the module"
        for name, item in own.items()
        if name in tensors and _kind(tensors[name]) != _kind(item)
    ]
    wrong += _torn(own, tensors)
    if wrong:
        listed = wrong[:8] + [f"and {len(wrong) - 8} more"] * (len(wrong) > 8)
        cure = "build the modules with the file's own config, and run an AutoGuide on its data"
        found = "it does not fit the module:\n    " + "\n    ".join(listed)
        raise CheckpointError(path, found, "the same names and shapes", cure)


def _kind(tensor: Tensor) -> tuple[bool, bool, bool]:
    """What numbers a tensor holds: their precision may differ."""
    return tensor.is_floating_point(), tensor.is_complex(), tensor.dtype is torch.bool


def _torn(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> list[str]:
    """Name what two modules share and the file has twice, in two versions."""
    first: dict[tuple[Any, ...], str] = {}
    torn = []
    for name, item in own.items():
        if not item.numel() or name not in tensors:
            continue
        other = first.setdefault((item.data_ptr(), item.shape, item.stride()), name)
        if other != name and not torch.equal(tensors[name], tensors[other]):
            torn.append(f"{other} and {name} are one tensor here, and differ in the file")
    return torn
