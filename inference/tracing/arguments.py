"""How a model is called: its arguments, and which of them take data."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from inference.tracing.bind import FunctionModule
from ppl_models.errors import InputError

_NUMBER = re.compile(r"\s*(int|float|bool|str)\s*(\|\s*None\s*)?")


def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """Return how a function, or a module, is called; None where nobody can say."""
    target = function.fn if isinstance(function, FunctionModule) else function
    target = target.forward if isinstance(target, torch.nn.Module) else target
    try:
        return inspect.signature(target)
    except (TypeError, ValueError):  # some handlers and builtins have none
        return None


def argument_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """How a model calls its positional arguments, up to ``*args``."""
    signature = signature_of(function)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = signature.parameters.items() if signature else ()
    return tuple(name for name, parameter in parameters if parameter.kind in kinds)


def named(args: Any, kwargs: Any, names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield the arguments of a call by their names; those of ``*x`` by their place."""
    for i, value in enumerate(args):
        yield names[i] if i < len(names) else f"argument {i}", value
    yield from kwargs.items()


def refuse_labels(function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> None:
    """Make sure that no rows of data land where a model takes a number, or a mask.

    A number is what a parameter takes whose annotation is int, float, bool or str, or whose default
    is one of these: the ``size`` of a simulation, not the labels of a loader of (x, label).

    Raises
    ------
    InputError
        A tensor with rows is given there.
    """
    signature = signature_of(function)
    if signature is None:
        return
    for (name, parameter), value in zip(signature.parameters.items(), args, strict=False):
        if parameter.kind is parameter.VAR_POSITIONAL:
            break
        _refuse_label(parameter, name, value, of_rows=True)
    for name in set(kwargs) & set(signature.parameters):
        _refuse_label(signature.parameters[name], name, kwargs[name], of_rows=False)


def _refuse_label(parameter: inspect.Parameter, name: str, value: Any, of_rows: bool) -> None:
    if not isinstance(value, Tensor) or not value.dim():
        return
    of_mask = name == "mask" and not _is_mask(value)
    if not (of_mask or _takes_a_number(parameter)):
        return
    found = f"a tensor of shape {tuple(value.shape)}, {value.dtype}"
    expected = f"{'a mask of bools' if of_mask else 'a number'} there, as the model says: no data"
    cure = f"leave {name!r} out of the dict"
    if of_rows:
        cure = f"leave the labels out; of a DataLoader of (x, label), by {_ONLY_X}"
    raise InputError(name, found, expected, cure)


_ONLY_X = "collate_fn=lambda rows: torch.stack([row[0] for row in rows])"


def _takes_a_number(parameter: inspect.Parameter) -> bool:
    if isinstance(parameter.default, int | float | str):
        return True
    kind = parameter.annotation
    text = kind if isinstance(kind, str) else getattr(kind, "__name__", "")
    return kind is not parameter.empty and bool(_NUMBER.fullmatch(text))


def _is_mask(value: Tensor) -> bool:
    return value.dtype == torch.bool or bool(((value == 0) | (value == 1)).all())


def check_call(
    role: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Make sure that a model or guide takes these arguments.

    Raises
    ------
    InputError
        If it does not.
    """
    signature = signature_of(function)
    try:
        if signature is not None:
            signature.bind(*args, **kwargs)
    except TypeError as error:
        found = f"{len(args)} positional arguments and {sorted(kwargs) or 'no'} keywords"
        cure = f"give model and guide the same arguments, and data for them ({error})"
        if len(args) > 1 and all(isinstance(value, Tensor) for value in args):
            cure = (
                f"leave out what is no data of the model, such as labels, in a DataLoader by "
                f"{_ONLY_X}; of a list of one tensor a datum, torch.stack(x), or {pad_cure('x')} "
                f"({error})"
            )
        raise InputError("data", found, f"what the {role} takes: {signature}", cure) from error


def pad_cure(name: str, made: str = "") -> str:
    """Say how sequences of unequal length become one tensor, and a mask.

    Parameters
    ----------
    name
        Of the list of them, and of the model's argument.
    made
        What makes a list of tensors of it, where it is none.
    """
    return (
        f"dict({name}=pad_sequence({made or name}, batch_first=True), "
        f"mask=pad_sequence([torch.ones(len(v)).bool() for v in {name}], batch_first=True)), "
        "by pad_sequence of torch.nn.utils.rnn"
    )


def deep(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Change a tensor, or the tensors in a dict (of dicts, lists and tuples) of them."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _inside(part, change) for name, part in value.items()}
    return value


def _inside(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if type(value) in (list, tuple):
        return type(value)(_inside(part, change) for part in value)
    return deep(value, change)
