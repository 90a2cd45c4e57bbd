"""The forms that data come in: what is taken for a tensor, and how to make one of the rest.

Tensors are used as they are, never cast: casting would hide that 1e300 is infinite in float32, or
that classes were read as numbers. A form that cannot be used is refused with the line that mends
it; whether a dtype is to blame for an error of torch is found by trying another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from operator import methodcaller
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from inference.tracing.arguments import argument_names, named, pad_cure, refuse_labels
from inference.tracing.bind import bind
from inference.tracing.layout import pair_traces, untouched
from inference.tracing.nonfinite import unvalidated
from ppl_models.errors import InputError


def refuse_forms(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> None:
    """Make sure that what a pair is given is tensors, and none of them where a number belongs.

    What is no data (None, a number, a user's own object) is let pass.

    Raises
    ------
    InputError
        A numpy array, a table of pandas, a Dataset, a loader; a sparse or complex tensor.
    """
    for name, value in named(args, kwargs, argument_names(function)):
        refuse_form(name, value)
    refuse_labels(function, args, kwargs)


def refuse_form(name: str, value: Any, argument: str = "") -> None:
    """Refuse one column of data that is no tensor of numbers, with the line that mends it.

    Raises
    ------
    InputError
        ``argument`` is the name of the column.
    """
    said = _mended(name if name.isidentifier() else "x", value)
    if said is not None:
        raise InputError(f"{argument}: {name}" if argument else name, *said)


def _mended(name: str, value: Any) -> tuple[str, str, str] | None:
    """What was found, expected, and the cure; None if the form is right."""
    if isinstance(value, Tensor):
        return _of_tensor(name, value)
    if isinstance(value, np.ndarray | np.generic) and not value.shape:
        return None  # a number
    if isinstance(value, np.ndarray):
        return _of_array(name, value, f"an array of {value.dtype}", "")
    if type(value).__module__.startswith("pandas") and hasattr(value, "to_numpy"):
        found = f"a {type(value).__name__}"
        return _of_array(name, value.to_numpy(), found, ".to_numpy()")
    if is_list_of(np.ndarray, value):
        return _of_list(name, value)
    if isinstance(value, DataLoader):
        return "a DataLoader", "a tensor", f"next(iter({name})), one batch of it"
    if isinstance(value, Dataset):
        one = f"next(iter(torch.utils.data.DataLoader({name}, batch_size=len({name}))))"
        return f"a {type(value).__name__}", "a tensor", f"{one}, its tensors"
    return None


def _of_tensor(name: str, value: Tensor) -> tuple[str, str, str] | None:
    if value.layout != torch.strided:
        return f"a tensor of layout {value.layout}", "a dense tensor", f"{name}.to_dense()"
    if value.is_complex():
        cure = f"torch.cat([{name}.real, {name}.imag], -1), or {name}.abs()"
        return str(value.dtype), "real numbers", cure
    return None


def _of_array(name: str, value: np.ndarray, found: str, more: str) -> tuple[str, str, str]:
    if value.dtype.kind in "OUSMmV":
        cure = (
            f"code what is no number, as in pandas.factorize; then {name}{more}.astype('float32')"
        )
        if _is_numbers(value):
            cure = f"torch.as_tensor({name}{more}.astype('float32'))"
        return f"{found}, of dtype {value.dtype}", "a tensor of numbers", cure
    if value.dtype.kind == "c":
        return found, "real numbers", f"torch.as_tensor(abs({name}{more}), dtype=torch.float32)"
    if value.dtype.kind == "f" and (big := _beyond(torch.as_tensor(np.asarray(value, "float64")))):
        scaled = f"{name}{more} / abs({name}{more}).max()"
        return (
            f"{found} that holds {big}, which is infinite in float32",
            "a tensor of numbers that float32 can hold",
            f"torch.as_tensor({scaled}, dtype=torch.float32)",
        )
    make = "torch.tensor" if more else "torch.as_tensor"  # a table's array may not be written to
    cure = f"{make}({name}{more}, dtype=torch.float32)"
    if value.dtype.kind in "iu":
        cure += "; dtype=torch.long where the model takes classes"
    return found, "a tensor", cure


def _is_numbers(value: np.ndarray) -> bool:
    try:
        value.astype("float32")
    except (TypeError, ValueError):
        return False
    return True


def _beyond(value: Tensor) -> str:
    """Name the largest finite number that float32 does not hold; empty if there is none."""
    finite = value[value.isfinite()].abs()
    largest = finite.max().item() if finite.numel() else 0.0
    return f"{largest:g}" if largest > torch.finfo(torch.float32).max else ""


@contextmanager
def blaming_forms(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Iterator[None]:
    """Turn an error inside into one that names the data's form, where that is to blame.

    It is to blame if the pair runs on the same data in another form.

    Raises
    ------
    InputError
        The argument, the dtype it has and the one it should have; or a list that is no tensor.
    """
    try:
        yield
    except Exception as error:
        found = _blame(model, guide, args, kwargs)
        if found is None:
            raise
        raise found from error


def _blame(model: Any, guide: Any, args: Any, kwargs: Any) -> InputError | None:
    """Return the error that names the form of the data, if another form would do."""
    given = dict(named(args, kwargs, argument_names(model)))
    runs = partial(_runs, model, guide, args, kwargs)
    if runs({}, None):  # whatever was raised, it was not by the data's form
        return None
    for name, value in given.items():
        if is_list_of(Tensor, value) and runs({name: value}, _pad):
            return InputError(name, *_of_list(name, value))
        if is_list_of((int, float, list), value) and runs({name: value}, torch.tensor):
            return InputError(name, *of_numbers(name, value))
    for dtype in (parameter_dtype(model, guide), torch.long):
        wrong = {n: v for n, v in given.items() if _differs(v, dtype)}
        for some in _choices(wrong):
            if runs(some, methodcaller("to", dtype)):
                name = next(iter(some))
                return _of_dtype(name, some[name], dtype)
    return None


def _choices(wrong: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Yield each of several columns alone, then all but masks, then all."""
    yield from ({name: value} for name, value in wrong.items())
    if len(wrong) > 1:
        yield {name: value for name, value in wrong.items() if value.dtype != torch.bool}
        yield wrong


def _pad(sequences: Any) -> Tensor:
    return pad_sequence(list(sequences), batch_first=True)


def _runs(model: Any, guide: Any, args: Any, kwargs: Any, wrong: Any, change: Any) -> bool:
    """Whether a pair runs on its data when some of them come in another form."""
    try:
        changed = {id(value): change(value) for value in wrong.values()}
        args = tuple(changed.get(id(v), v) for v in args)
        kwargs = {name: changed.get(id(v), v) for name, v in kwargs.items()}
        with untouched(model, guide), torch.no_grad(), unvalidated():
            for trace in pair_traces(*bind(model, guide, *args, **kwargs), args, kwargs):
                trace.compute_log_prob()
    except Exception:  # whatever it was, the form alone is not to blame
        return False
    return True


def _differs(value: Any, dtype: torch.dtype) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0 and value.dtype != dtype


def parameter_dtype(*functions: Any) -> torch.dtype:
    """Return the dtype of a pair's parameters; torch's default where it has none."""
    for function in functions:
        owner = getattr(function, "__self__", function)
        for parameter in owner.parameters() if isinstance(owner, nn.Module) else ():
            if parameter.is_floating_point():
                return parameter.dtype
    return torch.get_default_dtype()


def _of_dtype(name: str, value: Tensor, dtype: torch.dtype) -> InputError:
    if dtype == torch.long:
        expected = "torch.int64: whole numbers, such as classes"
        return InputError(name, str(value.dtype), expected, f"{name}.long()")
    found, cure = str(value.dtype), f"{name}.{_CASTS.get(dtype, f'to({dtype})')}"
    if value.dtype == torch.float64 and dtype == torch.float32:
        if big := _beyond(value):
            found += f" that holds {big}, which is infinite in float32"
            cure = f"({name} / {name}.abs().max()).float()"
        else:
            cure += ", or model.double() and guide.double()"
    return InputError(name, found, f"{dtype}, as the parameters are", cure)


_CASTS = {torch.float32: "float()", torch.float64: "double()", torch.float16: "half()"}


def is_list_of(kind: Any, value: Any) -> bool:
    """Whether a value is a list, or a tuple, of such things."""
    return (
        isinstance(value, list | tuple) and bool(value) and all(isinstance(v, kind) for v in value)
    )


def _of_list(name: str, value: Any) -> tuple[str, str, str]:
    """What to say of a list of sequences: tensors, or arrays."""
    arrays = isinstance(value[0], np.ndarray)
    lengths = [len(v) if v.ndim else 1 for v in value]
    found = f"a {type(value).__name__} of {len(value)} {'arrays' if arrays else 'tensors'}"
    made = f"[torch.as_tensor(v, dtype=torch.float32) for v in {name}]" if arrays else name
    if len({tuple(v.shape) for v in value}) == 1:
        return found, "one tensor", f"torch.stack({made})"
    found += f" of {min(lengths)} to {max(lengths)} rows"
    return found, "one tensor, and which of its frames are there", pad_cure(name, made)


def of_numbers(name: str, value: Any) -> tuple[str, str, str]:
    """What to say of a list of numbers, or of lists of them."""
    found = f"a {type(value).__name__} of {len(value)} {type(value[0]).__name__}s"
    return found, "a tensor", f"torch.tensor({name}, dtype=torch.float32)"


FORMS = (
    "a tensor, a tuple of arguments, a dict of keyword arguments, a Dataset or DataLoader of "
    "these, or None where the model holds its data"
)


JOINED = "tuple(map(torch.cat, zip(*data)))"


def refuse_list(data: list[Any], argument: str, names: tuple[str, ...]) -> None:
    """Refuse a list that is no list of arguments: of a number a datum, or of arrays."""
    name = names[0] if names else "x"
    refuse_form(name, data, argument)
    if is_list_of((int, float, list), data):
        raise InputError(argument, *of_numbers(name, data))
    if is_list_of(tuple, data):
        cure = f"of batches {JOINED}, cut again by batch_size=; of single data a DataLoader(data)"
        raise InputError(argument, f"a list of {len(data)} tuples", FORMS, cure)
