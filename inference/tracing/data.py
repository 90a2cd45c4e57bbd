"""Data as training sees them: columns of tensors, in batches, in an order that a seed gives."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from inference.randomness import derive, reseed
from inference.tracing.arguments import deep, named, pad_cure
from inference.tracing.bind import NO_ROW
from inference.tracing.forms import FORMS, JOINED, refuse_form, refuse_list
from ppl_models.errors import InputError


@dataclass(frozen=True)
class Columns:
    """Arguments of a pair: tensors with a row an observation, and whatever else it takes.

    What is no tensor (None, a number), or a tensor without dims, is passed on whole; and so
    is a dict, unless the tensors in it are all that has rows.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    size: int
    nested: bool = False  # whether the rows are those of tensors in a dict

    def rows(self, index: Tensor | slice) -> Columns:
        """Some of the rows, in the order of `index`."""

        def pick(value: Tensor) -> Tensor:
            if isinstance(index, slice):
                return value[index]
            return value.index_select(0, index.to(value.device))

        def within(value: Any) -> Any:
            if isinstance(value, Mapping) and not self.nested:
                return value
            return deep(value, lambda v: pick(v) if is_column(v) else v)

        size = len(range(self.size)[index]) if isinstance(index, slice) else len(index)
        return replace(self.mapped(within), size=size)

    def to(self, device: torch.device) -> Columns:
        """The same on a device."""
        return self.mapped(lambda value: deep(value, lambda v: v.to(device)))

    def mapped(self, change: Callable[[Any], Any]) -> Columns:
        """The same rows, each column changed."""
        kwargs = {name: change(value) for name, value in self.kwargs.items()}
        return replace(self, args=tuple(map(change, self.args)), kwargs=kwargs)

    def changed(self, transform: Callable[[Any], Any] | None) -> Columns:
        """The same after a user's transform, which gets and gives a tensor, a tuple or a dict.

        Raises
        ------
        InputError
            It gives something else, or another number of rows.
        """
        if transform is None:
            return self
        form: Any = self.args or self.kwargs
        form = form[0] if len(self.args) == 1 else form
        made = columns(transform(form), "transform")
        if made.size != self.size or bool(made.args) != bool(self.args):
            found = f"{made.size} rows of {type(form).__name__} from a batch of {self.size}"
            cure = "give back what came, row by row: a tensor, a tuple or a dict"
            raise InputError("transform", found, "as many rows, in the same form", cure)
        return made if made.kwargs else replace(made, kwargs=self.kwargs)

    def numbered(self, name: str) -> Columns:
        """The same, and an argument that holds the numbers of the rows."""
        return replace(self, kwargs={**self.kwargs, name: torch.arange(self.size)})

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


def _lengths(value: Any) -> list[int]:
    """Rows of the tensors in an argument."""
    found: list[int] = []

    def count(part: Tensor) -> Tensor:
        found.extend([len(part)] if is_column(part) else [])
        return part

    deep(value, count)
    return found


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
    data = (data,) if isinstance(data, Tensor) else data
    if not isinstance(data, (Mapping, tuple, list)):
        refuse_form(names[0] if names else "x", data, argument)
        cure = "(data,) if the model takes it as it is, else torch.as_tensor(data)"
        if isinstance(data, Iterator):
            cure = f"list it: of tensors torch.cat(list(data)), of tuples of them {JOINED}"
        raise InputError(argument, f"a {type(data).__name__}", FORMS, cure)
    if isinstance(data, list):
        refuse_list(data, argument, names)
    args: tuple[Any, ...] = () if isinstance(data, Mapping) else tuple(data)
    kwargs: dict[str, Any] = dict(data) if isinstance(data, Mapping) else {}
    given = dict(named(args, kwargs, names))
    for name, value in given.items():
        refuse_form(name, value, argument)
    lengths = {name: len(value) for name, value in given.items() if is_column(value)}
    nested = not lengths
    if nested:  # a dict as an argument, of tensors
        parts = ((name, _lengths(value)) for name, value in given.items())
        lengths = {f"{name}[{i}]": n for name, found in parts for i, n in enumerate(found)}
    cure = "make their first dims agree; keep constants in the model"
    if args and all(isinstance(value, Tensor) and value.dim() for value in args):
        one = names[0] if names else "x"
        cure += f"; of a list {one} of one tensor a datum, {pad_cure(one)}"
    _same_lengths(lengths, argument, cure)
    return Columns(args, kwargs, next(iter(lengths.values())), nested)


def _same_lengths(lengths: dict[str, int], argument: str, cure: str) -> None:
    if not lengths:
        cure = "one datum as a row, x.reshape(1, ...); or let model and guide hold the data, and "
        cure += "pass None"
        raise InputError(argument, "no tensor with rows", "at least one observation", cure)
    if not all(lengths.values()):
        raise InputError(argument, "no row", "at least one observation", NO_ROW)
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{length} rows of {name}" for name, length in lengths.items())
        raise InputError(argument, found, "as many rows of each", cure)


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
    if isinstance(data, TensorDataset):
        data = data.tensors
    if isinstance(data, Dataset):
        data = DataLoader(data, batch_size, shuffle=not isinstance(data, IterableDataset))
    if isinstance(data, DataLoader):
        return LoaderSource(data, argument, names)
    if data is None or (isinstance(data, tuple | list | Mapping) and not data):
        return TensorSource(Columns((), {}, 1), 1)  # the model holds them: one batch, of one datum
    return TensorSource(columns(data, argument, names), batch_size)
