"""Where a training run stands, and the folder that remembers it.

The folder holds ``resume.ckpt``, from which the run goes on to the same numbers, and
``model.safetensors``, the best weights so far (`inference.checkpoint.load` reads them). Both are
whole at any moment, both have a checksum of all that is in them, and neither can hold code:
``resume.ckpt`` is read with ``weights_only``. While a run goes on, its folder is locked.
"""

from __future__ import annotations

import io
import os
import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inference.checkpoint import save_tensors, write_whole
from inference.errors import CheckpointError
from inference.training.lock import locked
from inference.training.run import figure_of
from ppl_models.data.files import BLANK, PROBE, is_sealed, make_folder, seal
from ppl_models.errors import InputError

VERSION = 3
RESUME, WEIGHTS = "resume.ckpt", "model.safetensors"
_UNREADABLE = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError, TypeError),
    *(AttributeError, IndexError, OverflowError, MemoryError, AssertionError),
)
_MARK = b"ppl-models checksum "
"""Before the seal, both in the comment at the end of the file, which is a zip archive."""
_PARTS = {
    "pair": dict,
    "progress": dict,
    "best": dict,
    "interrupted": bool,
    "optimizer": dict,
    "kind": str,
}


@dataclass
class Progress:
    """Where a run stands; plain numbers, so that any reader can open them."""

    epoch: int = 0  # whole epochs done
    batch: int = 0  # batches done of the epoch after them
    step: int = 0  # batches done in all
    loss: float = 0.0  # sum over the observations seen in this epoch
    rows: int = 0  # how many these are
    sums: dict[str, float] = field(default_factory=dict)  # of other figures, like that of the loss
    seconds: float = 0.0  # of training, over all sessions
    best_epoch: int = 0
    best_bound: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)

    def count_step(self, loss: float, figures: dict[str, float], rows: int) -> None:
        """Count a step: the mean loss and other figures of so many observations."""
        self.step, self.batch = self.step + 1, self.batch + 1
        self.loss, self.rows = self.loss + loss * rows, self.rows + rows
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * rows

    def count_epoch(self) -> None:
        """Count an epoch; the sums begin again."""
        self.epoch, self.batch, self.loss, self.rows, self.sums = self.epoch + 1, 0, 0.0, 0, {}

    def note(self, row: dict[str, Any], keep_last: bool) -> bool:
        """Add a report to the history; whether it is the best one, or so far the last to keep."""
        self.history.append(row)
        bound = bound_of(row)
        better = self.best_bound is None or bound > self.best_bound or keep_last
        if better:
            self.best_epoch, self.best_bound = row["epoch"], bound
        return better

    def forget_last(self, keep_last: bool) -> None:
        """Take the last report back."""
        rows, self.history = self.history[:-1], []
        self.best_epoch, self.best_bound = 0, None
        for row in rows:
            self.note(row, keep_last)


def bound_of(row: dict[str, Any]) -> float:
    """Return the bound, or other figure, that an epoch is judged by."""
    name = figure_of(row)
    return float(row.get(f"validation_{name}", row[name]))


class RunFolder:
    """The folder of one run.

    Parameters
    ----------
    path
        The folder; made when it is first held.
    identity
        What makes a run this one: the pair, the data, the seed. A resumed run must have the same.

    Saving takes at most about a tenth of the time: after a save, the ends of epochs are let pass
    until ten times its duration is over. Within an epoch a save comes every five minutes.
    """

    SHARE, WITHIN_EPOCH = 10.0, 300.0

    def __init__(self, path: str | os.PathLike[str], identity: dict[str, Any]) -> None:
        self.path, self.identity = Path(path), identity
        self._saved_at, self._took = time.monotonic(), 0.0

    @contextmanager
    def hold(self, space: int = 0) -> Iterator[None]:
        """Make the folder, see that it can be written to, and lock it, for the block.

        Parameters
        ----------
        space
            Bytes that the run will need there.

        Raises
        ------
        InputError
            Another process holds it, or it is a file.
        CheckpointError
            It cannot be made or written to, or its disk is full.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError("directory", f"{self.path}, a file", "a folder", "choose another name")
        new = not self.path.exists()
        try:
            make_folder(self.path, "directory", space)
        except InputError as error:
            found = error.found.removeprefix(f"{self.path}").lstrip(":, ")
            raise CheckpointError(self.path, found, error.expected, error.cure) from None
        try:
            with locked(self.path):
                yield
        finally:
            if new:
                with suppress(OSError):  # only an empty one goes
                    self.path.rmdir()

    def open(self, resume: bool) -> dict[str, Any] | None:
        """Return the state to go on from; None for a fresh start.

        Raises
        ------
        InputError
            If the folder holds a run that was not to be resumed.
        CheckpointError
            If it holds another run, or its file cannot be read.
        """
        held = [name for name in (RESUME, WEIGHTS) if (self.path / name).exists()]
        if held and not resume:
            found = f"{self.path}, which holds the {' and '.join(held)} of a run"
            cure = "resume=True goes on with it; else name another folder, or empty this one"
            raise InputError("directory", found, "a folder without a run", cure)
        for name in (RESUME, WEIGHTS, PROBE):  # what a kill left half-written
            for scrap in self.path.glob(f".{name}.*.tmp"):
                scrap.unlink(missing_ok=True)
        return self._read() if RESUME in held else None

    def due(self, within_epoch: bool) -> bool:
        """Whether it is time to save."""
        wait = self.WITHIN_EPOCH if within_epoch else self.SHARE * self._took
        return time.monotonic() - self._saved_at >= wait

    def save(
        self, state: dict[str, Any], weights: dict[str, Tensor], model: str, extra: dict[str, Any]
    ) -> None:
        """Write both files.

        Raises
        ------
        CheckpointError
            If the disk is full; the earlier files are then as they were.
        """
        start = time.monotonic()
        buffer = io.BytesIO()
        torch.save({"version": VERSION, "identity": self.identity, **state}, buffer)
        config = {"pair": self.identity["pair"]}
        save_tensors(self.path / WEIGHTS, weights, model=model, config=config, extra=extra)
        write_whole(self.path / RESUME, _sealed(buffer.getvalue()))
        self._saved_at = time.monotonic()
        self._took = self._saved_at - start

    def _read(self) -> dict[str, Any]:
        path, older = self.path / RESUME, f"start again in another folder; {WEIGHTS} is of its own"
        with self.reading():
            content = path.read_bytes()
            sealed = content[-len(BLANK) - len(_MARK) : -len(BLANK)] == _MARK
            if sealed and not is_sealed(content, len(content) - len(BLANK)):
                raise ValueError("its contents are not those of its checksum")
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            version, identity = state["version"] + 0, dict(state["identity"])
        if version != VERSION:
            cure = "update the package" if version > VERSION else older
            raise CheckpointError(path, f"its version is {version}", f"{VERSION}", cure)
        with self.reading():
            if not sealed:
                raise ValueError("it has no checksum")
            _check_parts(state)
        self.compare(identity, self.identity)
        return dict(state)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Say of any error within the block that the file is not what it should be.

        Raises
        ------
        CheckpointError
            In place of whatever went wrong.
        """
        try:
            yield
        except CheckpointError:
            raise
        except _UNREADABLE as error:
            why = "it is cut short, damaged, or holds more than numbers; nothing in it was run"
            found = f"{why} ({_line(error)})"
            cure = f"start again in another folder; the weights are in {WEIGHTS}"
            raise CheckpointError(
                self.path / RESUME, found, "a file that fit wrote", cure
            ) from error

    def compare(self, then: dict[str, Any], now: dict[str, Any]) -> None:
        """Insist on the same run.

        Raises
        ------
        CheckpointError
            If it was another one.
        """
        names = [name for name in now if then.get(name) != now[name]]
        if names:
            seen = "; ".join(f"{name} was {then.get(name)}" for name in names)
            expected = "; ".join(f"{name} {now[name]}" for name in names)
            tied = {"learning_rate", "objective"} & set(names)  # schedules may follow from epochs
            same = (
                "with as many epochs, if schedules follow from them" if tied else "epochs may grow"
            )
            cure = f"call fit as at first ({same}), or name another folder"
            path = self.path / RESUME
            raise CheckpointError(path, f"it is another run: {seen}", expected, cure)


def _sealed(archive: bytes) -> bytes:
    """Put the seal into the comment of a zip archive, whose readers pass over it."""
    comment = _MARK + BLANK
    content = archive[:-2] + len(comment).to_bytes(2, "little") + comment
    return seal(content, len(content) - len(BLANK))


def _check_parts(state: dict[str, Any]) -> None:
    """Raise ValueError unless a state has the parts that a run is resumed from."""
    for name, kind in _PARTS.items():
        if not isinstance(state.get(name), kind):
            raise ValueError(f"its {name} is a {type(state.get(name)).__name__}")
    if state["progress"].keys() != {f.name for f in fields(Progress)}:
        raise ValueError(f"its progress has {', '.join(map(str, state['progress']))}")
    if strange := state["best"].keys() - state["pair"].keys():
        raise ValueError(f"its best weights have {', '.join(map(str, strange))}")


def _line(error: BaseException) -> str:
    """Return the first line of what an error says."""
    text = str(error).splitlines()
    return (text[0] if text else type(error).__name__)[:120]
