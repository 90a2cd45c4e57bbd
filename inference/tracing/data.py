"""Data as training sees them: columns of tensors, in batches, in an order that a seed gives."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from inference.randomness import derive, reseed
from inference.tracing.bind import FunctionModule
from ppl_models.errors import InputError

_FORMS = "a tensor, a tuple of arguments, a dict of keyword arguments, or a DataLoader of these"


@dataclass(frozen=True)
class Columns:
    """Arguments of a pair: tensors with a row an observation, and whatever else it takes.

    What is no tensor (None, a number), or a tensor without dims, is passed on whole.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    size: int

    def rows(self, index: Tensor | slice) -> Columns:
        """Some of the rows, in the order of `index`."""

        def pick(value: Any) -> Any:
            if not is_column(value):
                return value
            if isinstance(index, slice):
                return value[index]
            return value.index_select(0, index.to(value.device))

        size = len(range(self.size)[index]) if isinstance(index, slice) else len(index)
        return Columns(*self._each(pick), size)

    def to(self, device: torch.device) -> Columns:
        """The same on a device."""
        return Columns(
            *self._each(lambda v: v.to(device) if isinstance(v, Tensor) else v), self.size
        )

    def _each(self, change: Callable[[Any], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        kwargs = {name: change(value) for name, value in self.kwargs.items()}
        return tuple(map(change, self.args)), kwargs

    def changed(self, transform: Callable[[Any], Any] | None) -> Columns:
        """The same after a user's transform, which gets and gives a tensor, a tuple or a dict.

        Raises
        ------
        InputError
            It gives something else, or another number of rows.
        """
        if transform is None:
            return self
        form = self.kwargs or (self.args[0] if len(self.args) == 1 else self.args)
        made = columns(transform(form), "transform")
        if made.size != self.size or bool(made.kwargs) != bool(self.kwargs):
            found = f"{made.size} rows of {type(form).__name__} from a batch of {self.size}"
            cure = "give back what came, row by row: a tensor, a tuple or a dict"
            raise InputError("transform", found, "as many rows, in the same form", cure)
        return made

    def share(self, rank: int, world: int) -> tuple[Columns, int]:
        """The rows of one process of several, and how many of them count.

        A process that would have none gets one row, which counts nothing: all keep in step.
        """
        start, end = self.size * rank // world, self.size * (rank + 1) // world
        if world == 1:
            return self, self.size
        return self.rows(slice(start, end) if end > start else slice(0, 1)), end - start


def is_column(value: Any) -> bool:
    """Whether a value has rows."""
    return isinstance(value, Tensor) and value.ndim > 0


def columns(data: Any, argument: str, names: tuple[str, ...] = ()) -> Columns:
    """Read data in any of the forms that `fit` takes, a DataLoader's batches among them.

    Parameters
    ----------
    data
        A tensor, a tuple or list (positional arguments), or a dict (keyword arguments).
    argument
        What to call them in an error.
    names
        The names of positional arguments, for an error.

    Raises
    ------
    InputError
        If they are of another form, hold no row, or columns of different lengths.
    """
    if data is None or (isinstance(data, (tuple, list, Mapping)) and not data):
        return Columns((), {}, 1)  # the model holds its data
    data = (data,) if isinstance(data, Tensor) else data
    if not isinstance(data, (Mapping, tuple, list)):
        raise InputError(argument, f"a {type(data).__name__}", _FORMS, "torch.as_tensor(array)")
    args: tuple[Any, ...] = () if isinstance(data, Mapping) else tuple(data)
    kwargs: dict[str, Any] = dict(data) if isinstance(data, Mapping) else {}
    named = dict(_named(args, kwargs, names))
    for name, value in named.items():
        if hasattr(value, "__len__") and type(value).__module__.startswith(("numpy", "pandas")):
            found, cure = f"a {type(value).__name__}", "torch.as_tensor(array, dtype=torch.float32)"
            raise InputError(f"{argument}: {name}", found, "a tensor", cure)
    lengths = {name: len(value) for name, value in named.items() if is_column(value)}
    _same_lengths(lengths, argument)
    return Columns(args, kwargs, next(iter(lengths.values())))


def _same_lengths(lengths: dict[str, int], argument: str) -> None:
    if not lengths or not all(lengths.values()):
        found = "no row" if lengths else "no tensor with rows"
        raise InputError(argument, found, "at least one observation", "look at how it was loaded")
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{length} rows of {name}" for name, length in lengths.items())
        cure = "make their first dims agree; keep constants in the model"
        raise InputError(argument, found, "as many rows of each", cure)


def argument_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """How a model calls its arguments."""
    signature = signature_of(function)
    return tuple(signature.parameters) if signature else ()


def _named(args: Any, kwargs: Any, names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for i, value in enumerate(args):
        yield names[i] if i < len(names) else f"argument {i}", value
    yield from kwargs.items()


def nonfinite_rows(data: Columns, names: tuple[str, ...]) -> str:
    """Say which columns hold NaN or infinite numbers, and in how many rows; empty if none does."""
    found = []
    for name, value in _named(data.args, data.kwargs, names):
        if is_column(value):
            bad = (~value.isfinite()).reshape(len(value), -1).any(1).sum().item()
            found += [f"{name} is NaN or infinite in {bad:,} of {len(value):,} rows"] * (bad > 0)
    return ", ".join(found)


def check_call(role: str, function: Callable[..., Any], data: Columns) -> None:
    """Make sure that a model or guide takes these arguments.

    Raises
    ------
    InputError
        If it does not.
    """
    signature = signature_of(function)
    try:
        if signature is not None:
            signature.bind(*data.args, **data.kwargs)
    except TypeError as error:
        found = f"{len(data.args)} positional arguments and {sorted(data.kwargs) or 'no'} keywords"
        cure = f"give model and guide the same arguments, and data for them ({error})"
        raise InputError("data", found, f"what the {role} takes: {signature}", cure) from error


def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """Return how a function, or a module, is called; None where nobody can say."""
    function = function.fn if isinstance(function, FunctionModule) else function
    target = function.forward if isinstance(function, torch.nn.Module) else function
    try:
        return inspect.signature(target)
    except (TypeError, ValueError):  # some handlers and builtins have none
        return None


class Source(ABC):
    """Batches of a data set."""

    size: int | None  # observations; None where nobody knows
    steps: int | None  # batches an epoch

    @abstractmethod
    def batches(self, seed: int, skip: int = 0) -> Iterator[Columns]:
        """One epoch, in the order of `seed`, without its first `skip` batches."""

    @abstractmethod
    def part(self, size: int, seed: int) -> Source:
        """A fixed part of the data, of about `size` observations."""


class TensorSource(Source):
    """Batches cut from tensors by index, a whole batch at a time."""

    def __init__(self, data: Columns, batch_size: int, shuffled: bool = True) -> None:
        self.data, self.batch_size, self.shuffled = data, batch_size, shuffled
        self.size: int = data.size
        self.steps: int = math.ceil(data.size / batch_size)

    def batches(self, seed: int, skip: int = 0) -> Iterator[Columns]:
        """Cut the columns; the last batch holds what is left over."""
        if self.steps == 1:
            yield from [self.data][skip:]
            return
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(self.size, generator=generator) if self.shuffled else None
        for start in range(skip * self.batch_size, self.size, self.batch_size):
            cut = slice(start, start + self.batch_size)
            yield self.data.rows(cut if order is None else order[cut])

    def part(self, size: int, seed: int) -> Source:
        """Take random rows; all, if all are trained at once: guides without networks need that."""
        if self.steps == 1:
            return self
        return TensorSource(self._some(seed, slice(size)), self.batch_size, shuffled=False)

    def split(self, fraction: float, seed: int) -> tuple[TensorSource, TensorSource]:
        """Keep back a random fraction of the rows, at least one; the rest comes first."""
        kept = max(1, round(fraction * self.size))
        back, rest = self._some(seed, slice(kept)), self._some(seed, slice(kept, None))
        return TensorSource(rest, self.batch_size), TensorSource(back, self.batch_size, False)

    def _some(self, seed: int, part: slice) -> Columns:
        generator = torch.Generator().manual_seed(seed)
        return self.data.rows(torch.randperm(self.size, generator=generator)[part].sort().values)


class LoaderSource(Source):
    """Batches as a DataLoader makes them, in an order that our seed decides."""

    def __init__(self, loader: DataLoader, argument: str, names: tuple[str, ...]) -> None:
        self.loader, self.argument, self.names = loader, argument, names
        try:
            self.size = len(loader.dataset)  # type: ignore[arg-type]
            self.steps = len(loader)
        except TypeError:  # an IterableDataset
            self.size = self.steps = None
        if self.steps == 0:
            raise InputError(argument, "a DataLoader without a batch", "one", "drop_last=False")

    def batches(self, seed: int, skip: int = 0) -> Iterator[Columns]:
        """Run the loader, whose every random choice depends on `seed` and the batch alone."""
        for part in (self.loader, self.loader.sampler):
            if isinstance(generator := getattr(part, "generator", None), torch.Generator):
                generator.manual_seed(seed)
        reseed(seed)
        batches = iter(self.loader)
        for i in range(2**63):
            reseed(derive(seed, i))
            try:
                batch = next(batches)
            except StopIteration:
                return
            if i >= skip:
                yield columns(batch, self.argument, self.names)

    def part(self, size: int, seed: int) -> Source:
        """Hold the first batches of one order; 256 observations, since they stay in memory."""
        held: list[Columns] = []
        for batch in self.batches(seed):
            held.append(batch)
            if sum(b.size for b in held) >= min(size, 256):
                break
        return HeldSource(held)


class HeldSource(Source):
    """Batches kept in memory, always the same."""

    def __init__(self, held: list[Columns]) -> None:
        self.held = held
        self.size, self.steps = sum(batch.size for batch in held), len(held)

    def batches(self, seed: int, skip: int = 0) -> Iterator[Columns]:
        """Give them in their order."""
        return iter(self.held[skip:])

    def part(self, size: int, seed: int) -> Source:
        """Give all."""
        return self


def source(data: Any, argument: str, batch_size: int, names: tuple[str, ...]) -> Source:
    """Make the batches of data in any form that `fit` takes.

    Raises
    ------
    InputError
        As `columns` does.
    """
    if isinstance(data, DataLoader):
        return LoaderSource(data, argument, names)
    return TensorSource(columns(data, argument, names), batch_size)
