"""The processes that train together, each on its device.

One process on the CPU, the default, is all torch needs; anything else is Lightning's Fabric, which
is imported only then: that takes longer than the import of torch and Pyro together.
"""

from __future__ import annotations

import logging
import os
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from inference.tracing import Columns
from ppl_models.errors import InputError

if TYPE_CHECKING:
    from lightning.fabric import Fabric


class Carried(Protocol):
    """What is worked on, which may have to be carried to another process and back."""

    def unshare(self) -> None:
        """Stop sharing memory with the process that it came from."""

    def state(self) -> dict[str, Any]:
        """Return all that the work has changed, as tensors and plain numbers."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take over such a state."""


S = TypeVar("S", bound=Carried)


class Processes:
    """How many processes share each batch, which of them this one is, and its device.

    Parameters
    ----------
    accelerator, devices, strategy
        As Lightning's Fabric takes them.

    Attributes
    ----------
    count, rank, device
        Of this process; ``rank`` and ``device`` are settled once it runs.
    """

    def __init__(self, accelerator: str = "cpu", devices: Any = 1, strategy: Any = "auto") -> None:
        self.count, self.rank, self.device = 1, 0, torch.device("cpu")
        self._fabric: Fabric | None = None
        if (accelerator, devices, strategy) != ("cpu", 1, "auto"):
            self._fabric = _fabric(accelerator=accelerator, devices=devices, strategy=strategy)
            self.count = self._fabric.world_size

    @property
    def leads(self) -> bool:
        """Whether this process writes: of several that a launcher started, only the first does."""
        ranks = (os.environ.get(name, "0") for name in ("RANK", "LOCAL_RANK"))
        return self.count == 1 or all(rank == "0" for rank in ranks)

    def run(self, work: Callable[[S], None], session: S) -> None:
        """Do the work in every process; the session is then where the first one left it."""
        if self._fabric is None:
            return work(session)
        with _quiet(), TemporaryDirectory() as folder:
            kept = Path(folder) / "state"
            job: Any = _work  # which takes more than Lightning's type of it says
            self._fabric.launch(job, work, session, kept, os.getpid())
            if kept.exists():  # written by another process than this one
                session.restore(torch.load(kept, weights_only=True))

    def begin(self) -> None:
        """Take note of who this process is."""
        if self._fabric is not None:
            self.count, self.rank = self._fabric.world_size, self._fabric.global_rank
            self.device = self._fabric.device

    def place(self, module: nn.Module) -> nn.Module:
        """Move a module to the device; where several train it, their gradients are averaged."""
        if self._fabric is None or self.count == 1:  # a wrapper would cost time at each step
            return module.to(self.device)
        placed: nn.Module = self._fabric.setup_module(module)
        return placed

    def move(self, batch: Columns) -> Columns:
        """Move the tensors of a batch to the device, those within lists and dicts, too."""
        if self._fabric is None:
            return batch.to(self.device)
        args, kwargs = self._fabric.to_device((batch.args, batch.kwargs))
        return Columns(args, kwargs, batch.size)

    def backward(self, loss: Tensor) -> None:
        """Differentiate a loss."""
        if self._fabric is None or self.count == 1:
            loss.backward()
        else:
            self._fabric.backward(loss)

    def total(self, values: list[float]) -> list[float]:
        """Sum numbers over the processes."""
        if self._fabric is None or self.count == 1:
            return values
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        summed: Any = self._fabric.all_reduce(tensor, reduce_op="sum")
        return list(summed.tolist())

    def agree(self, wish: bool) -> bool:
        """Whether any process wishes it."""
        return wish if self.count == 1 else self.total([float(wish)])[0] > 0


def _fabric(**hardware: Any) -> Fabric:
    """Return Lightning's Fabric.

    Raises
    ------
    InputError
        There is no such hardware here.
    """
    state = random.getstate()  # the import draws random numbers
    from lightning.fabric import Fabric
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    random.setstate(state)
    try:
        with _quiet():
            return Fabric(**hardware)
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        found, cure = f"{hardware} ({error})", 'leave them out, or give accelerator="cpu"'
        expected = "processors that Lightning finds here"
        raise InputError("accelerator, devices, strategy", found, expected, cure) from error


def _work(fabric: Fabric, work: Callable[[S], None], session: S, kept: Path, parent: int) -> None:
    """Do the work in a process; keep what it came to if the one that asked is another."""
    if os.getpid() == parent:
        return work(session)
    session.unshare()
    try:
        work(session)
        if fabric.global_rank == 0:
            torch.save(session.state(), kept)
    finally:  # spawned processes run no atexit: gloo's threads would abort them as they end
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back Lightning's notes on hardware and on settings that are ours to choose."""
    from lightning.fabric.utilities.warnings import PossibleUserWarning

    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)
            warnings.filterwarnings("ignore", "GPU available but not used")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
